// By itself, because the kernel's header with the whole tcp_info and the C library's, which Asio
// includes, cannot stand in one file.
#include <linux/tcp.h>
#include <netinet/in.h>

#include "io/socket.h"

namespace pontage {

uint64_t Socket::BytesAcknowledged() const {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return UINT64_MAX;
  return info.tcpi_bytes_acked == 0 ? 0 : info.tcpi_bytes_acked - 1;
}

}  // namespace pontage

#include "db/libpq.h"

#include <dlfcn.h>

namespace pontage::db {
namespace {

template <typename F>
bool Load(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

// Always true: what is not there is not used.
bool LoadPipeline(void* library, Libpq& pq) {
  Load(library, "PQenterPipelineMode", pq.enter_pipeline);
  Load(library, "PQexitPipelineMode", pq.exit_pipeline);
  Load(library, "PQpipelineSync", pq.sync_pipeline);
  Load(library, "PQsendQueryParams", pq.send_params);
  Load(library, "PQsendQueryPrepared", pq.send_prepared);
  Load(library, "PQgetResult", pq.next_result);
  return true;
}

}  // namespace

Result<const Libpq*> LoadLibpq() {
  static Libpq pq;
  static const bool loaded = [] {
    void* const library = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
    return library != nullptr && Load(library, "PQconnectdbParams", pq.connect) &&
           Load(library, "PQconninfoParse", pq.parse) &&
           Load(library, "PQconninfoFree", pq.parse_free) &&
           Load(library, "PQfreemem", pq.free_memory) && Load(library, "PQfinish", pq.finish) &&
           Load(library, "PQstatus", pq.status) &&
           Load(library, "PQtransactionStatus", pq.transaction_status) &&
           Load(library, "PQerrorMessage", pq.error_message) &&
           Load(library, "PQsetNoticeProcessor", pq.set_notice_processor) &&
           Load(library, "PQexec", pq.exec) && Load(library, "PQprepare", pq.prepare) &&
           Load(library, "PQexecPrepared", pq.exec_prepared) &&
           Load(library, "PQresultStatus", pq.result_status) &&
           Load(library, "PQresultErrorField", pq.error_field) &&
           Load(library, "PQcmdStatus", pq.command_status) &&
           Load(library, "PQcmdTuples", pq.command_tuples) && Load(library, "PQntuples", pq.rows) &&
           Load(library, "PQnfields", pq.columns) && Load(library, "PQftype", pq.column_type) &&
           Load(library, "PQgetisnull", pq.is_null) && Load(library, "PQgetvalue", pq.value) &&
           Load(library, "PQgetlength", pq.length) && Load(library, "PQclear", pq.clear) &&
           LoadPipeline(library, pq);
  }();
  if (!loaded) {
    return Fail(Error(Code::kStore, "PostgreSQL's client library libpq.so.5 is not installed")
                    .Want("apt-get install libpq5, or store.url = \"sqlite:…\""));
  }
  return &pq;
}

}  // namespace pontage::db

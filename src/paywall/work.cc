#include "paywall/work.h"

namespace pontage::paywall {

Task<> Work::Admit() { co_return {}; }

}  // namespace pontage::paywall

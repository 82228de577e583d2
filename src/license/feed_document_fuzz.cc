#include "base/check.h"
#include "codec/json.h"
#include "license/feed_document.h"
#include "testing/fuzz.h"

namespace pontage::license {

// A document that is read says the same when it is written again, and a gateway that has taken it
// does not take it as the next one, too: nothing comes twice.
FUZZ_TARGET(feed_document) {
  const auto json = codec::ParseJson(input);
  if (!json) return;
  const auto document = ReadFeedDocument(*json);
  if (!document) return;
  const auto again = ReadFeedDocument(ToJson(*document));
  PTG_CHECK(again && ToJson(*again) == ToJson(*document));
  FeedHead head;
  if (!GoesOn(head, *document)) return;
  PTG_CHECK(document->to >= 0 && document->from <= document->to);
  head.seq = document->to;
  head.hash = document->hash;
  PTG_CHECK(document->to == 0 || document->snapshot || document->entries.empty() ||
            !GoesOn(head, *document));
}

}  // namespace pontage::license

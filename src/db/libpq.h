#pragma once

#include <libpq-fe.h>

#include "base/error.h"

namespace pontage::db {

// What we call of libpq. Loaded at run time: the binary starts without the library, and who keeps
// his books in SQLite does not need it.
struct Libpq {
  decltype(&PQconnectdbParams) connect = nullptr;
  decltype(&PQconninfoParse) parse = nullptr;
  decltype(&PQconninfoFree) parse_free = nullptr;
  decltype(&PQfreemem) free_memory = nullptr;
  decltype(&PQfinish) finish = nullptr;
  decltype(&PQstatus) status = nullptr;
  decltype(&PQtransactionStatus) transaction_status = nullptr;
  decltype(&PQerrorMessage) error_message = nullptr;
  decltype(&PQsetNoticeProcessor) set_notice_processor = nullptr;
  decltype(&PQexec) exec = nullptr;
  decltype(&PQprepare) prepare = nullptr;
  decltype(&PQexecPrepared) exec_prepared = nullptr;
  decltype(&PQresultStatus) result_status = nullptr;
  decltype(&PQresultErrorField) error_field = nullptr;
  decltype(&PQcmdStatus) command_status = nullptr;
  decltype(&PQcmdTuples) command_tuples = nullptr;
  decltype(&PQntuples) rows = nullptr;
  decltype(&PQnfields) columns = nullptr;
  decltype(&PQftype) column_type = nullptr;
  decltype(&PQgetisnull) is_null = nullptr;
  decltype(&PQgetvalue) value = nullptr;
  decltype(&PQgetlength) length = nullptr;
  decltype(&PQclear) clear = nullptr;
  // Since version 14; without them each statement is a journey.
  decltype(&PQenterPipelineMode) enter_pipeline = nullptr;
  decltype(&PQexitPipelineMode) exit_pipeline = nullptr;
  decltype(&PQpipelineSync) sync_pipeline = nullptr;
  decltype(&PQsendQueryParams) send_params = nullptr;
  decltype(&PQsendQueryPrepared) send_prepared = nullptr;
  decltype(&PQgetResult) next_result = nullptr;

  bool pipelines() const {
    return enter_pipeline != nullptr && exit_pipeline != nullptr && sync_pipeline != nullptr &&
           send_params != nullptr && send_prepared != nullptr && next_result != nullptr;
  }
};

// kStore when the library is not installed, or too old for us.
Result<const Libpq*> LoadLibpq();

}  // namespace pontage::db

// The same over books that are on PostgreSQL.
process.env.PTG_TEST_STORE = "postgresql";
await import("./console_api.test.mjs");

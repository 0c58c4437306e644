// Takes turns with connect-redis, the store of express-session, as they are told on standard input.
// A turn is a line "load|save CALLS CONCURRENCY"; the answer is a line with seconds a call.
// usage: node turns.mjs REDIS_URL SESSION_JSON
import { RedisStore } from "connect-redis";
import session from "express-session";
import { createInterface } from "node:readline";
import { performance } from "node:perf_hooks";
import { createClient } from "redis";

const [url, json] = process.argv.slice(2);
const client = createClient({ url });
await client.connect();
const store = new RedisStore({ client });
// What express-session hands to its store: the cookie beside the application's fields.
const saved = { cookie: new session.Cookie(), ...JSON.parse(json) };
const answered = (call) =>
  new Promise((done, fail) => call((error, value) => (error ? fail(error) : done(value))));
const calls = {
  load: () => answered((callback) => store.get("one", callback)),
  save: () => answered((callback) => store.set("one", saved, callback)),
};

await calls.save();
if ((await calls.load()).sessionId !== saved.sessionId) throw new Error("the session does not come back");
console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const [name, count, concurrency] = line.split(" ");
  const each = Math.floor(count / concurrency);
  const caller = async () => {
    for (let done = 0; done < each; done++) await calls[name]();
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: Number(concurrency) }, caller));
  console.log((performance.now() - began) / 1000 / (each * concurrency));
}
await client.close();

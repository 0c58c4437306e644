// What tests/bridge/writer.py does, with OpenClaw's own `updateSessionStore`: same arguments, same answer.
import { pathToFileURL } from "node:url";

const [runtime, sheet, name, count, work, start] = process.argv.slice(2);
const { updateSessionStore } = await import(pathToFileURL(runtime));
const COUNTED = "agent:main:counted";
const missing = [];

const pause = (most) => new Promise((done) => setTimeout(done, Math.random() * most));
const keyOf = (number) => `agent:main:explicit:${name}-${number}`;

const works = {
  async create(number) {
    const key = keyOf(number);
    await updateSessionStore(sheet, async (entries) => {
      entries[key] = { sessionId: `${name}-${number}`, updatedAt: Date.now(), n: 0 };
      if (Math.random() < 0.3) await pause(6);
    });
    await pause(8);
    await updateSessionStore(sheet, async (entries) => {
      if (!entries[key]) return missing.push(key);
      Object.assign(entries[key], { n: entries[key].n + 1, updatedAt: Date.now(), label: `L${number}` });
    });
  },
  async churn(number) {
    await works.create(number);
    if (number % 4 === 3) await updateSessionStore(sheet, (entries) => void delete entries[keyOf(number - 1)]);
  },
  async count() {
    await updateSessionStore(sheet, async (entries) => {
      const entry = entries[COUNTED];
      for (const field of ["compactionCount", `by-${name}`]) entry[field] = (entry[field] ?? 0) + 1;
      entry.updatedAt = Date.now();
    });
    await pause(12);
  },
};

await new Promise((done) => setTimeout(done, Math.max(0, Number(start) * 1000 - Date.now())));
for (let number = 0; number < Number(count); number++) {
  await works[work](number);
  await pause(10);
}
process.stdout.write(JSON.stringify(missing), () => process.exit(0));

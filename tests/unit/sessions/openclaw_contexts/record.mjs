// What OpenClaw itself makes of transcripts. usage: node record.mjs <directory of the package openclaw> <list of files>
// Prints a line of JSON for each file: the messages that OpenClaw hands to the model; then, for the last file, the lines
// that its own SessionManager.appendCompaction adds.
import fs from "node:fs";
const [, , root, list] = process.argv;
const { SessionManager } = await import(`${root}/dist/plugin-sdk/agent-sessions.js`);
const files = fs.readFileSync(list, "utf8").trim().split("\n");
for (const file of files) console.log(JSON.stringify(SessionManager.open(file).buildSessionContext().messages));
const file = files.at(-1);
const before = fs.readFileSync(file, "utf8").trim().split("\n").length;
const session = SessionManager.open(file);
session.appendCompaction("what was said", session.getLeafId(), 1234, { readFiles: ["a"], modifiedFiles: [] });
session.appendCompaction("what was said", session.getLeafId(), 1234);
console.log(JSON.stringify(fs.readFileSync(file, "utf8").trim().split("\n").slice(before)));

// What Ollama's package for Node asks of a server; run.sh starts it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Ollama } from "ollama";

const version = JSON.parse(readFileSync(new URL("node_modules/ollama/package.json", import.meta.url))).version;
const client = new Ollama({ host: process.env.ADDRESS });
const image = readFileSync(process.env.PICTURE);
const model = (await client.list()).models[0].name;
assert.ok((await client.show({ model })).capabilities.includes("vision"));
assert.equal((await client.ps()).models[0].name, model);

const answer = await client.generate({ model, prompt: "caption en", images: [image] });
const text = answer.response;
assert.ok(text.length > 10 && answer.done && answer.eval_count > 3);
const messages = [{ role: "user", content: "caption en", images: [image.toString("base64")] }];
assert.equal((await client.chat({ model, messages })).message.content, text);
let streamed = "";
for await (const piece of await client.chat({ model, messages, stream: true })) streamed += piece.message.content;
assert.equal(streamed, text);

await assert.rejects(client.chat({ model, messages, options: { top_p: 3 } }), (e) => e.name === "ResponseError" && e.status_code === 400 && e.error.startsWith("top_p"));
const gone = await client.generate({ model, prompt: "caption en", images: [image], stream: true });
for await (const _ of gone) break;
gone.abort();
assert.equal((await client.generate({ model, prompt: "caption en", images: [image] })).response, text);
console.log("ollama", version, "for Node", process.version + ":", text);

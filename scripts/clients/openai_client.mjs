// What OpenAI's package for Node asks of a server; run.sh starts it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import OpenAI, { BadRequestError, NotFoundError } from "openai";

const image = "data:image/png;base64," + readFileSync(process.env.PICTURE).toString("base64");
const version = JSON.parse(readFileSync(new URL("node_modules/openai/package.json", import.meta.url))).version;
const client = new OpenAI({ maxRetries: 0 });
const model = (await client.models.list()).data[0].id;
const messages = (text) => [{ role: "user", content: [{ type: "image_url", image_url: { url: image } }, { type: "text", text }] }];
const chat = (text, more) => client.chat.completions.create({ model, messages: messages(text), ...more });

const answer = await chat("caption en");
const text = answer.choices[0].message.content;
assert.ok(text.length > 10 && answer.choices[0].finish_reason === "stop" && answer.usage.prompt_tokens > 100);

let streamed = "", last;
for await (const chunk of await chat("caption en", { stream: true, stream_options: { include_usage: true } })) {
  streamed += chunk.choices[0]?.delta.content ?? "";
  last = chunk;
}
assert.equal(streamed, text);
assert.deepEqual(last.choices, []);
assert.ok(last.usage.total_tokens > 100);
assert.equal(await client.chat.completions.stream({ model, messages: messages("caption en") }).finalContent(), text);

const located = await chat("detect circle", { stop_repeats: true });
assert.equal(located.choices[0].objects[0].label, "circle");
const json = JSON.parse((await chat("segment circle", { response_format: { type: "json_object" } })).choices[0].message.content);
assert.equal(json.masks[0].codes.length, 16);
const logprobs = (await chat("caption en", { logprobs: true, top_logprobs: 1, max_tokens: 2 })).choices[0].logprobs;
assert.equal(logprobs.content.length, 2);

const completion = await client.completions.create({ model, prompt: "caption en", images: [image] });
assert.equal(completion.choices[0].text, text);
assert.equal((await client.models.retrieve(model)).id, model);

await assert.rejects(chat("x", { tools: [{ type: "function", function: { name: "f", parameters: {} } }] }), (e) => e instanceof BadRequestError && e.param === "tools");
await assert.rejects(chat("x", { stream: true, top_p: 3 }), (e) => e instanceof BadRequestError && e.param === "top_p");
await assert.rejects(client.models.retrieve("nobody"), (e) => e instanceof NotFoundError && e.status === 404);

const many = await Promise.all(Array.from({ length: 8 }, () => chat("caption en")));
assert.ok(many.every((a) => a.choices[0].message.content === text));
const gone = await chat("caption en", { stream: true });
for await (const _ of gone) break;
assert.equal((await chat("caption en")).choices[0].message.content, text);
console.log("openai", version, "for Node", process.version + ":", text);

// What Vercel's AI SDK asks of a server; run.sh starts it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, streamText } from "ai";

const version = JSON.parse(readFileSync(new URL("node_modules/ai/package.json", import.meta.url))).version;
const baseURL = process.env.OPENAI_BASE_URL;
const model = createOpenAICompatible({ name: "paligemma", baseURL })("built-in");
const image = readFileSync(process.env.PICTURE);
const messages = [{ role: "user", content: [{ type: "text", text: "caption en" }, { type: "image", image }] }];

const answer = await generateText({ model, messages, maxRetries: 0 });
const { text } = answer;
assert.ok(text.length > 10 && answer.finishReason === "stop" && answer.usage.inputTokens > 100, JSON.stringify(answer));
const stream = streamText({ model, messages, maxRetries: 0 });
let streamed = "";
for await (const piece of stream.textStream) streamed += piece;
assert.equal(streamed, text);
assert.equal(await stream.finishReason, "stop");

const openai = createOpenAI({ baseURL });
assert.equal((await generateText({ model: openai.chat("built-in"), messages, temperature: 0, maxOutputTokens: 60, maxRetries: 0 })).text, text);
// Its default asks for /v1/responses, and is told where to ask.
await assert.rejects(generateText({ model: openai("built-in"), messages, maxRetries: 0 }), (e) => APICallError.isInstance(e) && e.statusCode === 404 && e.message.includes("/v1/chat/completions"));
const controller = new AbortController();
const gone = streamText({ model, messages, maxRetries: 0, abortSignal: controller.signal, onError() {} });
for await (const _ of gone.textStream) break;
controller.abort();
assert.equal((await generateText({ model, messages, maxRetries: 0 })).text, text);
console.log("ai", version, "for Node", process.version + ":", text);

/** Ask as Babylon's `callGroqDirect` does: its environment says where, with which key and model. */

import { createGroq } from "@ai-sdk/groq";
import { generateText } from "ai";

const { GROQ_API_KEY: apiKey = "", GROQ_BASE_URL: baseURL = "" } = process.env;
const groq = createGroq({ apiKey, baseURL });
for (const name of ["GROQ_LARGE_MODEL", "GROQ_SMALL_MODEL"]) {
  const found = await generateText({
    model: groq(process.env[name] ?? ""),
    system: "You trade on prediction markets.",
    prompt: "Will ACME close higher?",
    temperature: 0.7,
    maxOutputTokens: 8192,
    stopSequences: [..."aeiou"], // for the test's sake: no answer of a thousand tokens
    maxRetries: 0,
  });
  console.log(found.response.modelId);
}

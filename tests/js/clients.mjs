// The official JavaScript clients through the enforcement points. Does one thing after the other and
// prints what came of each as one JSON object; tests/py/test_js.py says what it must be.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import OpenAI from "openai";

const { LICTOR_MCP, LICTOR_LLM, EXPENSE_TOKEN, REVIEW_TOKEN } = process.env;
const messages = [{ role: "user", content: "Which key do we deploy with?" }];
const model = "gpt-5-mini";

async function tools() {
  const requestInit = { headers: { authorization: `Bearer ${EXPENSE_TOKEN}` } };
  const transport = new StreamableHTTPClientTransport(new URL(`${LICTOR_MCP}/accounting`), { requestInit });
  const client = new Client({ name: "lictor-tests", version: "1.0.0" });
  await client.connect(transport);
  const listed = await client.listTools();
  const call = (employee_id) =>
    client.callTool({ name: "get_employee_cost_center", arguments: { employee_id } });
  const allowed = await call("alice@example.com");
  const denied = await call("bob@example.com").catch((error) => error);
  await client.close();
  return {
    listed: listed.tools.map((tool) => tool.name).sort(),
    allowed: allowed.content[0].text,
    denied: { code: denied.code, reasons: denied.data?.lictor?.reasons?.map((reason) => reason.id) },
  };
}

async function chat() {
  const client = new OpenAI({ baseURL: LICTOR_LLM, apiKey: REVIEW_TOKEN, maxRetries: 0 });
  const whole = await client.chat.completions.create({ model, messages });
  let streamed = "";
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
    streamed += chunk.choices[0]?.delta?.content ?? "";
  }
  const models = await client.models.list();
  const denied = await client.chat.completions.create({ model: "gpt-5", messages }).catch((error) => error);
  return {
    whole: whole.choices[0].message.content,
    streamed,
    models: models.data.map((one) => one.id),
    denied: { status: denied.status, code: denied.code },
  };
}

console.log(JSON.stringify({ tools: await tools(), chat: await chat() }));

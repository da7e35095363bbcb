// An identity provider that says whatever it is told to: `oauth2-mock-server`, whose events put any claims
// into a token, and forgeries that no honest library would sign.
//
//   node mock.mjs [PORT [KID]]     listens on PORT or a free one, and prints `issuer URL`
//
// POST /token              grant_type=client_credentials, and as JSON texts: `claims` (merged into the payload; null
//                          takes one away), `header` (merged into the header), `forge` (a name of FORGERIES)
// POST /control            {"sign": KID}   sign with that key from now on
//                          {"add": KID}    make a key and publish it, without signing with it
//                          {"retire": KID} publish it no more
//                          {"hang": BOOL}  answer nobody who asks for keys
//                          answers with how often the key set was fetched so far
import { createHmac, createPublicKey } from "node:crypto";
import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import { JWKStore, OAuth2Issuer, OAuth2Service } from "oauth2-mock-server";

const ALGORITHM = "ES256";
const issuer = new OAuth2Issuer();
const service = new OAuth2Service(issuer);
const retired = new Set();
let fetched = 0;
let hanging = false;
let signing = process.argv[3] ?? "first";

const coded = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
const read = (text) => (text === undefined ? {} : JSON.parse(text));

// The store hands out its keys in turn and keeps them all; rotation needs one that signs and others that rest.
const keys = issuer.keys;
const [turn, all] = [keys.get.bind(keys), keys.toJSON.bind(keys)];
keys.get = (kid) => turn(kid ?? signing);
keys.toJSON = (secrets = false) => all(secrets).filter((key) => !retired.has(key.kid));

// Tokens that a library refuses to make. Each is given the honest token's header and payload.
const FORGERIES = {
  none: (header, payload) => `${coded({ ...header, alg: "none" })}.${coded(payload)}.`,
  unsigned: (header, payload) => `${coded(header)}.${coded(payload)}.`,
  // The public key as everybody can read it, taken for a shared secret.
  public_key_as_secret: (header, payload) => {
    const jwk = all(false).find((key) => key.kid === header.kid);
    const pem = createPublicKey({ key: jwk, format: "jwk" }).export({ type: "spki", format: "pem" });
    const signed = `${coded({ ...header, alg: "HS256" })}.${coded(payload)}`;
    return `${signed}.${createHmac("sha256", pem).update(signed).digest("base64url")}`;
  },
  // The signature of one token under the claims of another.
  other_claims: (header, payload, token) => {
    const [head, , signature] = token.split(".");
    return `${head}.${coded({ ...payload, sub: "mallory@example.com" })}.${signature}`;
  },
  // Members that differ between readers.
  twice: (header, payload, token) => {
    const [head, , signature] = token.split(".");
    const text = JSON.stringify(payload).replace("{", '{"sub":"mallory@example.com",');
    return `${head}.${coded(text)}.${signature}`;
  },
};

service.on("beforeTokenSigning", (token, request) => {
  Object.assign(token.header, { typ: "at+jwt" }, read(request.body.header));
  for (const [name, value] of Object.entries(read(request.body.claims))) {
    if (value === null) delete token.payload[name];
    else token.payload[name] = value;
  }
});

service.on("beforeResponse", (response, request) => {
  const { forge } = request.body;
  if (forge === undefined) return;
  const token = response.body.access_token;
  const [header, payload] = token.split(".").slice(0, 2).map((part) => JSON.parse(Buffer.from(part, "base64url")));
  response.body.access_token = FORGERIES[forge](header, payload, token);
});

async function add(kid) {
  // Made elsewhere first: `generate` of the store itself would make it the one that is next.
  const made = await new JWKStore().generate(ALGORITHM, { kid });
  await keys.add(made);
  retired.delete(kid);
}

async function control(request, response) {
  let text = "";
  for await (const piece of request) text += piece;
  const wanted = JSON.parse(text);
  if (wanted.add) await add(wanted.add);
  if (wanted.sign) signing = wanted.sign;
  if (wanted.retire) retired.add(wanted.retire);
  if (wanted.hang !== undefined) hanging = wanted.hang;
  response.setHeader("content-type", "application/json").end(JSON.stringify({ fetched }));
}

await add(signing);
const server = createServer((request, response) => {
  if (request.url === "/control") return control(request, response);
  if (request.url === "/jwks") fetched += 1;
  if (request.url === "/jwks" && hanging) return undefined;
  return service.requestHandler(request, response);
});
server.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  issuer.url = `http://127.0.0.1:${server.address().port}`;
  console.log(`issuer ${issuer.url}`);
});

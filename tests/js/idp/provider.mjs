// An honest identity provider: `oidc-provider`, which issues what the standards say and nothing else.
//
//   node provider.mjs CONFIG.json     prints `issuer URL`
//
// CONFIG: {"resources": [URL], "clients": [{"client_id", "client_secret", "grant_types", …}], "people": [SUBJECT],
//          "local": URL, "tls": {"key", "cert", "ca"} as files, where certificates of clients are to be bound}
//
// Resources on this machine have the audience `local`: nobody knows their ports before they run.
// People are at their keyboards: whoever `login_hint` names logs in and consents at once. Beside the grants of the
// library there is token exchange (RFC 8693), as its documentation says to add one; every exchange is told on
// standard output as `exchanged JSON`.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import { createLocalJWKSet, createRemoteJWKSet, decodeJwt, jwtVerify } from "jose";
import { Provider, errors } from "oidc-provider";

const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";
const JWT = "urn:ietf:params:oauth:token-type:jwt";
const TTL_S = 600;
const SCOPE = "tools models";

const config = JSON.parse(readFileSync(process.argv[2], "utf8"));
const key = (kid) => ({
  ...generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" }),
  kid,
  alg: "ES256",
  use: "sig",
});
const jwks = { keys: [key("provider-1")] };

let handle;
const file = (name) => readFileSync(config.tls[name]);
const server = config.tls
  ? https.createServer(
      // Whose certificate it is does not matter: the token is bound to it, and that is all.
      { key: file("key"), cert: file("cert"), ca: file("ca"), requestCert: true, rejectUnauthorized: false },
      (request, response) => handle(request, response),
    )
  : http.createServer((request, response) => handle(request, response));
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const issuer = `${config.tls ? "https" : "http"}://127.0.0.1:${server.address().port}`;

function getResourceServerInfo(_context, resource) {
  const audience = resource.startsWith("http://127.0.0.1:") ? config.local : resource;
  if (!config.resources.includes(audience)) throw new errors.InvalidTarget();
  const jwt = { sign: { alg: "ES256" } };
  return { audience, scope: SCOPE, accessTokenFormat: "jwt", accessTokenTTL: TTL_S, jwt };
}

function getCertificate(context) {
  const certificate = context.socket.getPeerX509Certificate?.();
  return certificate?.toString();
}

// The actors of exchanged tokens.
const chains = new WeakMap();

const provider = new Provider(issuer, {
  clients: config.clients,
  clientDefaults: { id_token_signed_response_alg: "ES256" },
  jwks,
  cookies: { keys: [randomBytes(32).toString("hex")] },
  scopes: ["openid", "tools", "models"],
  clientAuthMethods: ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
  findAccount: (_context, sub) => (config.people.includes(sub) ? { accountId: sub, claims: () => ({ sub }) } : undefined),
  ttl: { AccessToken: TTL_S, ClientCredentials: TTL_S, Grant: TTL_S, Interaction: TTL_S, Session: TTL_S },
  extraTokenClaims: (_context, token) => chains.get(token),
  renderError: (context, out) => {
    context.type = "json";
    context.body = out;
  },
  interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    dPoP: { enabled: true },
    mTLS: { enabled: true, certificateBoundAccessTokens: true, getCertificate },
    resourceIndicators: { enabled: true, getResourceServerInfo, useGrantedResource: () => true },
  },
});

provider.use(async (context, next) => {
  if (!context.path.startsWith("/interaction/")) return next();
  const { prompt, params, session } = await provider.interactionDetails(context.req, context.res);
  const finish = (result) => provider.interactionFinished(context.req, context.res, result);
  context.respond = false;
  if (prompt.name === "login") return finish({ login: { accountId: params.login_hint } });
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(`openid ${SCOPE}`);
  for (const resource of config.resources) grant.addResourceScope(resource, SCOPE);
  return finish({ consent: { grantId: await grant.save() } });
});

// Keys of whoever else vouches for a token: Lictor's own assertions as actor or subject.
const trusted = new Map(Object.entries(config.trusted ?? {}).map(([iss, url]) => [iss, createRemoteJWKSet(new URL(url))]));
trusted.set(issuer, createLocalJWKSet({ keys: jwks.keys.map(({ d, ...open }) => open) }));

async function verified(token, name) {
  try {
    const keys = trusted.get(decodeJwt(token).iss);
    if (!keys) throw new Error("its issuer is not trusted");
    return (await jwtVerify(token, keys, { requiredClaims: ["sub", "exp"] })).payload;
  } catch (error) {
    throw new errors.InvalidRequest(`${name}: ${error.message}`);
  }
}

async function exchange(context) {
  const { params, client } = context.oidc;
  if (!params.subject_token || ![ACCESS_TOKEN, JWT].includes(params.subject_token_type)) {
    throw new errors.InvalidRequest("subject_token and its type are required");
  }
  const subject = await verified(params.subject_token, "subject_token");
  const actor = params.actor_token && (await verified(params.actor_token, "actor_token"));
  const target = params.resource ?? params.audience;
  const resourceServer = new provider.ResourceServer(target, getResourceServerInfo(context, target));
  const acts = actor?.sub ?? subject.act?.sub ?? client.clientId;
  const act = { sub: acts, ...(subject.act && actor ? { act: subject.act } : {}) };
  const token = new provider.AccessToken({
    accountId: subject.sub, client, resourceServer, scope: params.scope, gty: "token_exchange",
  });
  chains.set(token, { act });
  const access_token = await token.save();
  const { subject_token, actor_token, ...told } = params;
  console.log(`exchanged ${JSON.stringify({ ...told, client: client.clientId, subject, actor: actor ?? null })}`);
  context.body = { access_token, issued_token_type: ACCESS_TOKEN, token_type: "Bearer", expires_in: TTL_S, scope: token.scope };
}

const parameters = ["subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type"];
provider.registerGrantType(EXCHANGE, exchange, [...parameters, "audience", "resource", "scope"], ["audience", "resource"]);

handle = provider.callback();
console.log(`issuer ${issuer}`);

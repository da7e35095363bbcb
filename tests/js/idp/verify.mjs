// What a server behind an enforcement point does with a token, by a library of others (`jose`): prints its header
// and claims as JSON, or ends with what is wrong with it.
//
//   node verify.mjs JWKS_URL ISSUER AUDIENCE < TOKEN
import { readFileSync } from "node:fs";
import { createRemoteJWKSet, jwtVerify } from "jose";

const [, , jwks, issuer, audience] = process.argv;
const token = readFileSync(0, "utf8").trim();
const wanted = { issuer, audience, requiredClaims: ["sub", "exp", "iat", "jti"] };
const { protectedHeader, payload } = await jwtVerify(token, createRemoteJWKSet(new URL(jwks)), wanted);
console.log(JSON.stringify({ header: protectedHeader, claims: payload }));

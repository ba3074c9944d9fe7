/** What an address says about TLS, in libpq's words or Prisma's: pg alone reads it differently. */

import { readFileSync } from "node:fs";
import { type ConnectionOptions, getCACertificates } from "node:tls";

const NAMES = [
  "sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslaccept", "sslidentity",
];
const UNVERIFIED = ["allow", "prefer", "require"];
const MODES = ["disable", ...UNVERIFIED, "verify-ca", "verify-full"];

type Said = Record<string, string | undefined>;

/**
 * Take it out of the address; returns what pg is given for a connection, files read anew.
 *
 * Throws TypeError, without a value, for what contradicts itself. `undefined` where nothing is said:
 * pg cannot try TLS and go on without.
 */
export function takeTls(address: URL): () => ConnectionOptions | false | undefined {
  const said: Said = {};
  for (const name of NAMES) {
    said[name] = address.searchParams.get(name) || undefined;
    address.searchParams.delete(name);
  }
  translate(said);
  const { sslmode: mode, sslrootcert: root, sslcert: cert, sslkey: key } = said;
  if (mode !== undefined && !MODES.includes(mode)) {
    throw new TypeError(`sslmode in the database's address must be one of ${MODES.join(", ")}`);
  }
  if (mode === undefined && root === undefined && cert === undefined) {
    return () => undefined;
  }
  if (mode === "disable") {
    return () => false;
  }
  // As with libpq, an authority that is named is asked whatever the mode.
  const verified = root !== undefined || (mode ?? "").startsWith("verify");
  return () => ({
    rejectUnauthorized: verified,
    ...(root !== undefined && { ca: authorities(root) }),
    ...(verified && mode !== "verify-full" && { checkServerIdentity: () => undefined }),
    ...(cert !== undefined && { cert: read("sslcert", cert) }),
    ...(key !== undefined && { key: read("sslkey", key) }),
    ...(said["sslpassword"] !== undefined && { passphrase: said["sslpassword"] }),
  });
}

/** Say it in libpq's words, as babylon_tasks/postgres_parameters.py does. */
function translate(said: Said): void {
  if (said["sslidentity"] !== undefined) {
    throw new TypeError(
      "the database's address has sslidentity, a PKCS 12 file: convert it with openssl, and name " +
        "its parts by sslcert and sslkey",
    );
  }
  const { sslaccept: accept, sslmode: mode } = said;
  const authority = said["sslkey"] === undefined ? said["sslcert"] : undefined;
  if (accept === undefined) {
    if (authority !== undefined) {
      throw new TypeError(
        "the database's address has sslcert without sslkey: for the authority that signs the " +
          "server's certificate add sslaccept=strict or call it sslrootcert; else add sslkey",
      );
    }
  } else if (accept === "strict") {
    said["sslrootcert"] ??= authority ?? "system";
  } else if (accept === "accept_invalid_certs") {
    if (said["sslrootcert"] !== undefined || mode?.startsWith("verify")) {
      throw new TypeError(
        "the database's address has sslaccept=accept_invalid_certs, but also sslrootcert or an " +
          "sslmode that verifies: remove one of them",
      );
    }
  } else {
    throw new TypeError(
      "sslaccept in the database's address must be strict or accept_invalid_certs, as in Prisma",
    );
  }
  if (authority !== undefined) {
    said["sslcert"] = undefined;
  }
  if (accept === "strict" || said["sslrootcert"] === "system") {
    const weaker = accept === "strict" ? ["disable"] : ["disable", ...UNVERIFIED, "verify-ca"];
    if (mode !== undefined && weaker.includes(mode)) {
      throw new TypeError(
        `the database's address has ${accept === "strict" ? "sslaccept=strict" : "sslrootcert=system"}` +
          " and an sslmode that verifies less: write sslmode=verify-full",
      );
    }
    said["sslmode"] = "verify-full";
  }
}

function authorities(root: string): string | string[] {
  return root === "system"
    ? [...getCACertificates("default"), ...getCACertificates("system")]
    : read("sslrootcert", root);
}

function read(name: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new TypeError(`${name} in the database's address, ${path}, cannot be read: ${error}`);
  }
}

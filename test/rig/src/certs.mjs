// Certificates of an authority of the test's own, made by openssl in a folder.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import https from "node:https";
import path from "node:path";

const openssl = (...args) => execFileSync("openssl", args, { stdio: ["ignore", "pipe", "pipe"] });
const kKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

// {cert, key}: the files of an authority called `name`.
export function makeAuthority(dir, name = "authority") {
  const files = { cert: path.join(dir, `${name}.pem`), key: path.join(dir, `${name}.key`) };
  openssl("req", "-x509", ...kKey, "-keyout", files.key, "-out", files.cert, "-subj", `/CN=${name}`, "-days", "2");
  return files;
}

// {cert, key}: the files of a server for `names`, signed by `authority` or, without one, by itself.
// `days` may be negative: it has ended then.
export function makeCertificate(dir, name, { authority, names = "DNS:localhost,IP:127.0.0.1", days = 30 } = {}) {
  const at = (ending) => path.join(dir, `${name}.${ending}`);
  const files = { cert: at("pem"), key: at("key") };
  fs.writeFileSync(at("ext"), `subjectAltName=${names}\nbasicConstraints=critical,CA:FALSE\n`);
  openssl("req", ...kKey, "-keyout", files.key, "-out", at("csr"), "-subj", `/CN=${name}`);
  const signer = authority
    ? ["-CA", authority.cert, "-CAkey", authority.key, "-CAcreateserial", "-CAserial", at("srl")]
    : ["-signkey", files.key];
  openssl("x509", "-req", "-in", at("csr"), ...signer, "-days", String(days), "-extfile", at("ext"), "-out", files.cert);
  return files;
}

export const read = ({ cert, key }) => ({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) });

// One request by node's https: {status, headers, text, socket}. `ca` is a file.
export function httpsGet(url, { ca, body, ...options } = {}) {
  return new Promise((resolve, reject) => {
    const request = https.request(url, { agent: false, ca: ca && fs.readFileSync(ca), ...options }, (answer) => {
      const { socket } = answer;
      let text = "";
      answer.on("data", (data) => (text += data));
      answer.on("error", reject);
      answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, text, socket }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

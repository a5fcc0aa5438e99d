// Calls of the server. Every change says which tab makes it: one tab at a time may draw.

const KEPT = "dpcenet-tab";
export const TAB = sessionStorage.getItem(KEPT) ?? crypto.randomUUID();
sessionStorage.setItem(KEPT, TAB);

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function call(path, { method = "GET", json, body, headers = {} } = {}) {
  const sent = { "X-Tab": TAB, ...headers };
  if (json !== undefined) sent["Content-Type"] = "application/json";
  else if (body !== undefined) sent["Content-Type"] = "application/octet-stream";
  const answer = await fetch(path, { method, headers: sent, body: json === undefined ? body : JSON.stringify(json) });
  if (!answer.ok) throw new Refused(answer.status, await reason(answer));
  return answer;
}

export async function get(path) {
  return (await call(path)).json();
}

export async function send(method, path, json) {
  return (await call(path, { method, json })).json();
}

export async function bytes(path) {
  return (await call(path)).arrayBuffer();
}

async function reason(answer) {
  const text = await answer.text();
  try {
    const { detail } = JSON.parse(text);
    return typeof detail === "string" ? detail : detail.map((each) => each.msg).join("; ");
  } catch {
    return text || answer.statusText;
  }
}

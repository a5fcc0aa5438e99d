// Every call of the server, from its OpenAPI description.

import { get } from "./api.js";
import { el, fill } from "./dom.js";

function typeOf(schema = {}) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.type === "array") return `${typeOf(schema.items)}[]`;
  return schema.type ?? schema.contentMediaType ?? "";
}

function callRow(path, method, call) {
  const given = (call.parameters ?? []).map((each) => `${each.name}: ${typeOf(each.schema)}`);
  const bodies = Object.entries(call.requestBody?.content ?? {}).map(([kind, { schema }]) => `${kind} ${typeOf(schema)}`);
  return el("tr", {}, el("td", {}, el("code", {}, `${method.toUpperCase()} ${path}`)), el("td", {}, call.description ?? call.summary), el("td", { class: "muted small" }, [...given, ...bodies].join(", ")));
}

const description = await get("/api/openapi.json");
const rows = Object.entries(description.paths).flatMap(([path, calls]) => Object.entries(calls).map(([method, call]) => callRow(path, method, call)));
fill(
  document.getElementById("view"),
  el(
    "div",
    { class: "page" },
    el("header", {}, el("div", {}, el("h1", {}, `${description.info.title} ${description.info.version}`), el("p", { class: "muted" }, description.info.description, " ", el("a", { href: "/api/openapi.json" }, "openapi.json")))),
    el("div", { class: "panel" }, el("table", {}, el("tbody", {}, rows))),
  ),
);

// Open: the scans of the folder with pictures, geometry and what the doctor notes.

import { get } from "./api.js";
import { button, el, fill } from "./dom.js";
import { said, t } from "./i18n.js";

const NAMES = 5; // shown of those that are left aside for one reason

export async function scansPage(view, go) {
  const grid = el("div", { class: "cards" });
  const summary = el("p", { class: "muted" });
  const leftOut = el("div", { class: "muted small" });
  const header = el("header", {}, el("div", { class: "grow" }, el("h1", {}, t("scans.title")), summary, leftOut), button(t("scans.again"), () => load(true)));
  fill(view, el("div", { class: "page" }, header, grid));
  let open = true;

  async function load(again) {
    const { scans, left_out: out } = await get(`/api/scans${again ? "?again=true" : ""}`);
    const labelled = scans.filter((scan) => ["labelled", "corrected"].includes(scan.state)).length;
    summary.textContent = scans.length ? t("scans.summary", { n: scans.length, labelled }) : t("scans.none");
    fill(leftOut, Object.entries(out).map(([why, names]) => el("p", {}, t("scans.left_out", { why: said(why), names: few(names) }))));
    const cards = scans.map((scan) => card(scan, go));
    fill(grid, cards.map(({ node }) => node));
    for (const each of cards) {
      if (!open) return;
      await each.complete(); // one after the other: the first ones are there first
    }
  }

  await load(false);
  return { close: () => (open = false) };
}

function card(scan, go) {
  const picture = el("div", { class: "blank" });
  const facts = el("div", { class: "muted small number" }, t("wait"));
  const notes = el("div", {});
  const head = el("div", { class: "row" }, el("span", { class: "name grow" }, scan.name), badge(scan.state));
  const node = el("button", { type: "button", class: "card", onclick: () => go("label", { id: scan.id }) }, picture, el("div", { class: "body" }, head, facts, notes));

  async function complete() {
    try {
      const known = scan.facts ?? (await get(`/api/scans/${scan.id}`));
      picture.replaceWith(el("img", { src: `/api/scans/${scan.id}/thumbnail.png`, alt: t("scans.picture", { name: scan.name }) }));
      facts.textContent = factsText(known);
      fill(notes, known.errors.map((text) => el("div", { class: "note bad" }, text)), known.notes.map((text) => el("div", { class: "muted small" }, said(text))));
    } catch (error) {
      facts.textContent = "";
      node.disabled = true;
      fill(notes, el("div", { class: "note bad" }, error.message));
    }
  }
  return { node, complete };
}

function few(names) {
  const more = names.length - NAMES;
  return names.slice(0, NAMES).join(", ") + (more > 0 ? t("scans.more", { n: more }) : "");
}

export function badge(state) {
  return state === "none" ? null : el("span", { class: `badge ${state}` }, t(`state.${state}`));
}

export function factsText(facts) {
  const [z, y, x] = facts.shape;
  const by = "\u00a0×\u00a0"; // a line breaks between facts, not within one
  const mm = [...facts.spacing].reverse().map((step) => Number(step.toPrecision(3))).join(by);
  return `${facts.modality.toUpperCase()} · ${[x, y, z].join(by)} · ${mm}\u00a0mm · ${facts.orientation}`;
}

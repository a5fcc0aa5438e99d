// The list of labels: pick one to draw with, name it, colour it, add one.

import { button, el, fill, toast } from "./dom.js";
import { get, send } from "./api.js";
import { currentLanguage, t } from "./i18n.js";

export async function loadLabels() {
  return get("/api/labels");
}

export function labelList(editor, known, store) {
  const list = el("ul", { class: "labels", role: "listbox", "aria-label": t("labels.title") });
  const names = el("datalist", { id: "start-names" }, known.start[currentLanguage()].map((name) => el("option", { value: name })));
  const name = el("input", { type: "text", list: "start-names", placeholder: t("labels.new"), "aria-label": t("labels.new"), maxlength: "60" });
  const form = el("form", { class: "row" }, name, el("button", { type: "submit" }, t("labels.add")), names);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = name.value.trim();
    if (!text) return;
    const value = Math.max(0, ...store.labels.map((label) => label.value)) + 1;
    const colour = known.colours[(value - 1) % known.colours.length];
    if (await keep([...store.labels, { value, name: text, colour }])) {
      name.value = "";
      editor.set({ value });
    }
  });

  async function keep(labels) {
    try {
      const plain = labels.map(({ value, name, colour }) => ({ value, name, colour }));
      store.labels = (await send("PUT", "/api/labels", plain)).labels;
    } catch (error) {
      toast(error.message, "bad");
      return false;
    }
    editor.scene.set({ names: store.labels });
    show();
    return true;
  }

  function row(label, number) {
    const colour = el("input", { type: "color", value: label.colour, "aria-label": t("labels.colour", { name: label.name }) });
    colour.addEventListener("change", () => keep(store.labels.map((each) => (each.value === label.value ? { ...each, colour: colour.value } : each))));
    const pick = button(label.name, () => editor.set({ value: label.value }), { class: "pick", title: `SNOMED CT ${label.code} · ${label.meaning}` });
    const rename = button("✎", () => {
      const next = prompt(t("labels.rename"), label.name)?.trim();
      if (next) keep(store.labels.map((each) => (each.value === label.value ? { ...each, name: next } : each)));
    }, { class: "plain small", "aria-label": t("labels.rename.of", { name: label.name }) });
    const selected = editor.value === label.value;
    return el("li", { role: "option", "aria-selected": String(selected) }, colour, pick, rename, number < 9 ? el("kbd", {}, String(number + 1)) : null);
  }

  function show() {
    fill(list, store.labels.map(row));
    if (!store.labels.length) fill(list, el("li", { class: "muted small" }, t("labels.none")));
  }
  editor.onchange(show);
  show();
  return el("section", {}, el("h2", {}, t("labels.title")), list, form);
}

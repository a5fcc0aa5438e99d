// Planes on their way to the server: none is lost while the page is open, the newest one wins.

import { call } from "./api.js";
import { toast } from "./dom.js";
import { t } from "./i18n.js";

const AGAIN_MS = 800;
const waiting = new Map(); // "scan axis index" → { scene, axis, index, plane, stroke }
let sending = null;
const listeners = new Set();

export function onSaving(listener) {
  listeners.add(listener);
}

function tell(state) {
  for (const listener of listeners) listener(state);
}

export function isSaved() {
  return !waiting.size && !sending;
}

export function save(scene, axis, index, plane, stroke) {
  const key = `${scene.id} ${axis} ${index} ${stroke}`;
  waiting.set(key, { scene, axis, index, plane: plane.slice(), stroke });
  tell("saving");
  sending ??= work();
}

// When everything is on the server.
export async function saved() {
  while (sending) await sending;
}

async function work() {
  while (waiting.size) {
    const [key, each] = waiting.entries().next().value;
    try {
      const path = `/api/scans/${each.scene.id}/labels/${each.axis}/${each.index}`;
      const answer = await call(path, { method: "PUT", body: each.plane, headers: { "X-Stroke": each.stroke } });
      each.scene.drawn = (await answer.json()).drawn;
      if (waiting.get(key) === each) waiting.delete(key);
      each.scene.changed();
    } catch (error) {
      if (error.status === undefined || error.status >= 500) {
        tell("offline"); // the server was closed or killed: it is tried until it is back
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      } else {
        waiting.delete(key);
        each.scene.labels.forget();
        each.scene.changed();
        toast(t("save.refused", { reason: error.message }), "bad");
      }
    }
  }
  sending = null;
  tell("saved");
}

window.addEventListener("beforeunload", (event) => {
  if (!isSaved()) event.preventDefault();
});

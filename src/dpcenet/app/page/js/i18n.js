// Texts: one file for each language; {name} stands for a value.

export const LANGUAGES = { en: "English", zh: "中文" };
const KEPT = "dpcenet-language";
let texts = {};
let language = "en";
let sentences = []; // of the program: [pattern, key of the text]

export async function loadTexts() {
  const wanted = localStorage.getItem(KEPT) ?? navigator.language.slice(0, 2);
  language = wanted in LANGUAGES ? wanted : "en";
  const answers = await Promise.all(["en", language].map((each) => fetch(`/page/texts/${each}.json`)));
  const [english, chosen] = await Promise.all(answers.map((answer) => answer.json()));
  texts = { ...english, ...chosen };
  sentences = Object.entries(english).filter(([key]) => key.startsWith("said.")).map(([key, text]) => [patternOf(text), key]);
  document.documentElement.lang = language === "zh" ? "zh-CN" : language;
}

export function currentLanguage() {
  return language;
}

export function chooseLanguage(next) {
  localStorage.setItem(KEPT, next);
  location.reload();
}

export function t(key, values = {}) {
  const text = texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

// A sentence of the program (a reason, a note on a scan) in the chosen language; as it is where it
// is none of the texts "said.…". A value in it may be such a sentence, too (`system/texts.py` does the
// same for written pages).
export function said(sentence) {
  for (const [pattern, key] of sentences) {
    const match = pattern.exec(sentence);
    if (match) return t(key, Object.fromEntries(Object.entries(match.groups ?? {}).map(([name, value]) => [name, said(value)])));
  }
  return sentence;
}

function patternOf(text) {
  const plain = text.replace(/[.*+?^$()|[\]\\]/g, "\\$&");
  return new RegExp(`^${plain.replace(/\{(\w+)\}/g, "(?<$1>.+?)")}$`);
}

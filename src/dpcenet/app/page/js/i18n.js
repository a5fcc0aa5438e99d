// Texts: one file for each language; {name} stands for a value.

export const LANGUAGES = { en: "English", zh: "中文" };
const KEPT = "dpcenet-language";
let texts = {};
let language = "en";

export async function loadTexts() {
  const wanted = localStorage.getItem(KEPT) ?? navigator.language.slice(0, 2);
  language = wanted in LANGUAGES ? wanted : "en";
  const answers = await Promise.all(["en", language].map((each) => fetch(`/page/texts/${each}.json`)));
  const [english, chosen] = await Promise.all(answers.map((answer) => answer.json()));
  texts = { ...english, ...chosen };
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

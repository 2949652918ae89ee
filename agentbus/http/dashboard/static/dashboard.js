"use strict";
// What pages need of a script: the theme, that something has changed, and that it is not up to date. All else are forms.
(() => {
  const root = document.documentElement;
  const themes = ["system", "light", "dark"];
  const button = document.getElementById("theme");
  const now = () => root.dataset.theme || "system";
  const name = () => { button.textContent = `Theme: ${now()}`; };
  button.hidden = false;
  name();
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(now()) + 1) % themes.length];
    const secure = location.protocol === "https:" ? "; Secure" : "";
    if (next === "system") {
      delete root.dataset.theme;
      document.cookie = `agentbus_theme=; Path=/; Max-Age=0; SameSite=Strict${secure}`;
    } else {
      root.dataset.theme = next;
      document.cookie = `agentbus_theme=${next}; Path=/; Max-Age=31536000; SameSite=Strict${secure}`;
    }
    name();
    document.dispatchEvent(new CustomEvent("theme"));
  });

  // A form is sent once.
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if (event.target.dataset.sent) { event.preventDefault(); return; }
    event.target.dataset.sent = "yes";
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });

  if (!document.querySelector("[hx-get]")) return;
  const stale = document.getElementById("stale");
  const say = (words) => { stale.textContent = words; stale.hidden = !words; };
  document.body.addEventListener("htmx:beforeRequest", (event) => {
    const chosen = getSelection();
    const reading = chosen && !chosen.isCollapsed && event.target.contains(chosen.anchorNode);
    if (document.hidden || reading) event.preventDefault();
  });
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    document.body.addEventListener(name, () => say("Not up to date: the server does not answer."));
  }
  document.body.addEventListener("htmx:responseError", (event) => {
    say(`Not up to date: the server answered ${event.detail.xhr.status}.`);
  });
  document.body.addEventListener("htmx:afterSwap", () => say(""));

  let source = null;
  const listen = () => {
    if (document.hidden) { if (source) source.close(); source = null; return; }
    if (source) return;
    source = new EventSource("/live");
    source.addEventListener("changed", () => document.body.dispatchEvent(new CustomEvent("changed")));
    document.body.dispatchEvent(new CustomEvent("changed"));
  };
  document.addEventListener("visibilitychange", listen);
  addEventListener("pagehide", () => { if (source) source.close(); source = null; });
  addEventListener("pageshow", listen);
})();

// A chat window for any page: <script src="https://gateway/channels/webchat/ACCOUNT/widget.js" defer></script>
//
// data-token-url  where the page's own server gives {"token": "..."} for the visitor; without it they are anonymous
// data-title      what the window is called
// data-page       the window is the page, and not in its corner
//
// No inline styles, no eval, nothing from elsewhere: a page needs the gateway's origin in script-src and connect-src.
(() => {
  "use strict";
  const script = document.currentScript;
  const base = new URL(".", script.src);
  const own = new URL(base.href.slice(0, -1));
  const title = script.dataset.title || "Chat";
  const onPage = "page" in script.dataset;
  const memory = `agentbus:${base.href}`;
  const LONGEST = 16000;
  const RENEWED = 24 * 3600 * 1000;
  const LONGEST_WAIT = 30000;
  const OPENS_WITHIN = 10000;
  const WRITING_LASTS = 20000;

  // What stays when the page goes: who an anonymous visitor is, and what they wrote that nobody has taken yet.

  const remembered = (name) => {
    try {
      return JSON.parse(localStorage.getItem(`${memory}${name}`)) || null;
    } catch {
      return null;
    }
  };
  const remember = (name, value) => {
    try {
      if (value === null) localStorage.removeItem(`${memory}${name}`);
      else localStorage.setItem(`${memory}${name}`, JSON.stringify(value));
    } catch {
      // The browser keeps nothing for this page: it goes without.
    }
  };
  const newId = () => {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  };

  // What is seen.

  const style = new CSSStyleSheet();
  style.replaceSync(`
    :host { all: initial; color-scheme: light dark; --back: #fff; --text: #1b1f24; --soft: #eef1f4; --line: #c9d1d9;
      --mark: #0b5cad; --on-mark: #fff; --wrong: #b3261e; --faint: #57606a;
      font: 16px/1.45 system-ui, sans-serif; color: var(--text); }
    @media (prefers-color-scheme: dark) { :host { --back: #15191f; --text: #e6edf3; --soft: #232a33; --line: #3d4752;
      --mark: #7ab7ff; --on-mark: #06213f; --wrong: #ff9a92; --faint: #9aa6b2; } }
    *, *::before { box-sizing: border-box; }
    [hidden] { display: none !important; }
    button, textarea { font: inherit; color: inherit; }
    :focus-visible { outline: 3px solid var(--mark); outline-offset: 2px; }
    .opener { position: fixed; right: 16px; bottom: 16px; z-index: 2147483000; min-width: 56px; min-height: 56px;
      padding: 0 18px; border: 0; border-radius: 28px; background: var(--mark); color: var(--on-mark); cursor: pointer;
      box-shadow: 0 2px 10px #0005; }
    .window { position: fixed; right: 16px; bottom: 84px; z-index: 2147483000; width: 380px; height: 560px;
      max-width: calc(100vw - 32px); max-height: calc(100vh - 100px); display: flex; flex-direction: column;
      background: var(--back); border: 1px solid var(--line); border-radius: 12px; overflow: hidden;
      box-shadow: 0 6px 30px #0004; }
    .window.whole { inset: 0; width: auto; height: auto; max-width: none; max-height: none; border: 0;
      border-radius: 0; box-shadow: none; }
    .window.whole > * { width: 100%; max-width: 760px; margin-inline: auto; }
    @media (max-width: 480px) { .window:not(.whole) { inset: 0 0 84px 0; width: auto; height: auto; max-width: none;
      max-height: none; border-radius: 0; } }
    header { display: flex; align-items: center; gap: 8px; padding: 12px 16px; border-bottom: 1px solid var(--line); }
    h2 { flex: 1; margin: 0; font-size: 1.05em; overflow-wrap: anywhere; }
    .state { font-size: .85em; color: var(--faint); }
    .log { flex: 1; padding: 12px 16px; overflow-y: auto; overscroll-behavior: contain; }
    .list { margin: 0; padding: 0; list-style: none; display: flex; flex-direction: column; gap: 10px; }
    .one { align-self: flex-start; max-width: 88%; padding: 8px 12px; border-radius: 12px; background: var(--soft);
      overflow-wrap: anywhere; }
    .one.visitor { align-self: flex-end; background: var(--mark); color: var(--on-mark); }
    .one.pending { opacity: .65; }
    .one.wrong { background: var(--back); color: var(--wrong); border: 1px solid var(--wrong); }
    .one .who, .one .note { display: block; font-size: .8em; opacity: .85; }
    .one p { margin: 0 0 .5em; white-space: pre-wrap; }
    .one p:last-of-type { margin-bottom: 0; }
    .one pre { margin: 0 0 .5em; padding: 8px; overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
    .one ul, .one ol { margin: 0 0 .5em; padding-left: 1.4em; }
    .one a { color: inherit; }
    .writing::after { content: "…"; }
    form { display: flex; gap: 8px; padding: 12px 16px; border-top: 1px solid var(--line); align-items: flex-end; }
    textarea { flex: 1; min-width: 0; height: 44px; max-height: 160px; padding: 9px 12px; resize: none;
      background: var(--back); border: 1px solid var(--line); border-radius: 10px; }
    form button, header button { min-width: 44px; min-height: 44px; border: 1px solid var(--line); border-radius: 10px;
      background: var(--soft); cursor: pointer; }
    .hide { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
  `);

  const make = (name, attributes = {}, ...within) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...within);
    return element;
  };

  const host = document.createElement("agentbus-chat");
  const root = host.attachShadow({ mode: "open" });
  root.adoptedStyleSheets = [style];
  const opener = make("button", { class: "opener", type: "button", "aria-expanded": "false" }, title);
  const state = make("span", { class: "state", role: "status" });
  const closer = make("button", { type: "button", "aria-label": "Close" }, "✕");
  const list = make("ol", { class: "list" });
  const log = make("div", { class: "log", role: "log", "aria-label": "Messages", tabindex: "0" }, list);
  const field = make("textarea", { id: "say", rows: "1", maxlength: String(LONGEST), placeholder: "Your message",
    autocomplete: "off" });
  const form = make("form", {}, make("label", { class: "hide", for: "say" }, "Your message"), field,
    make("button", { type: "submit" }, "Send"));
  const panel = make("section", { class: "window", "aria-label": title }, make("header", {}, make("h2", {}, title),
    state, closer), log, form);
  panel.hidden = !onPage;
  if (onPage) {
    panel.classList.add("whole");
    closer.hidden = true;
  } else {
    root.append(opener);
  }
  root.append(panel);

  let unread = 0;
  const showUnread = () => {
    opener.textContent = unread ? `${title} (${unread})` : title;
    opener.setAttribute("aria-label", unread ? `${title}, ${unread} unread` : title);
  };
  const open = (wanted) => {
    panel.hidden = !wanted;
    opener.setAttribute("aria-expanded", String(wanted));
    if (wanted) {
      unread = 0;
      showUnread();
      toEnd();
      field.focus();
      line.wake();
    } else {
      opener.focus();
    }
  };
  opener.addEventListener("click", () => open(panel.hidden));
  closer.addEventListener("click", () => open(false));
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !onPage) open(false);
  });

  // Markdown, as far as bots write it: made of elements, never of markup that somebody sent.

  const safe = (address) => {
    try {
      return ["https:", "http:", "mailto:"].includes(new URL(address).protocol);
    } catch {
      return false;
    }
  };
  const link = (address, ...within) => make("a", { href: address, target: "_blank", rel: "noopener noreferrer nofollow" },
    ...within);
  const SPAN = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|__([^_\n]+)__|\*([^*\s][^*\n]*)\*|\[([^[\]\n]*)\]\(([^()\s]+)\)|(https?:\/\/[^\s<>"')\]]+)/g;
  const spans = (text) => {
    const found = [];
    let last = 0;
    for (const match of text.matchAll(SPAN)) {
      const [all, code, bold, alsoBold, italic, label, address, bare] = match;
      found.push(text.slice(last, match.index));
      if (code) found.push(make("code", {}, code));
      else if (bold || alsoBold) found.push(make("strong", {}, bold || alsoBold));
      else if (italic) found.push(make("em", {}, italic));
      else if (bare) found.push(link(bare, bare));
      else found.push(safe(address) ? link(address, label || address) : all);
      last = match.index + all.length;
    }
    found.push(text.slice(last));
    return found;
  };
  const ITEM = /^\s*(?:([-*+])|\d{1,9}[.)])\s+(.*)$/;
  const blocks = (text) => {
    const found = [];
    const lines = text.split("\n");
    let said = [];
    const flush = () => {
      const whole = said.join("\n").trim();
      if (whole) found.push(make("p", {}, ...spans(whole)));
      said = [];
    };
    for (let at = 0; at < lines.length; at += 1) {
      const fence = /^\s*(`{3,}|~{3,})/.exec(lines[at]);
      const item = ITEM.exec(lines[at]);
      if (fence) {
        flush();
        const code = [];
        for (at += 1; at < lines.length && !lines[at].trim().startsWith(fence[1]); at += 1) code.push(lines[at]);
        found.push(make("pre", { tabindex: "0" }, make("code", {}, code.join("\n"))));
      } else if (item) {
        flush();
        const kind = item[1] ? "ul" : "ol";
        const before = found[found.length - 1];
        const into = before && before.localName === kind && /^\s*(?:[-*+]|\d)/.test(lines[at - 1] || "") ? before
          : make(kind);
        if (into !== before) found.push(into);
        into.append(make("li", {}, ...spans(item[2])));
      } else if (!lines[at].trim()) {
        flush();
      } else {
        said.push(lines[at].replace(/^#{1,6}\s+/, ""));
      }
    }
    flush();
    return found;
  };

  // Messages, each once, in the order of the log; what is not there yet comes last.

  const shown = new Map();
  const pending = new Map((remembered(":unsent") || []).map((one) => [one.id, { ...one, item: null }]));
  const keepPending = () => {
    const left = Array.from(pending.values()).filter((one) => !one.taken);
    remember(":unsent", left.length ? left.map(({ id, text }) => ({ id, text })) : null);
  };

  const fill = (item, message) => {
    const mine = message.from === "visitor";
    item.className = `one ${mine ? "visitor" : message.from}`;
    const parts = mine ? [make("p", {}, message.text || "")] : blocks(message.text || "");
    const who = mine ? "You" : message.name;
    item.replaceChildren(make("span", { class: mine ? "hide" : "who" }, who || (message.from === "bot" ? "" : "Guest")),
      ...parts);
    for (const file of message.attachments || []) {
      const name = file.name || file.uri;
      item.append(make("p", {}, safe(file.uri) ? link(file.uri, name) : name));
    }
    if (message.edited) item.append(make("span", { class: "note" }, "edited"));
  };
  const toEnd = () => {
    log.scrollTop = log.scrollHeight;
  };
  const changing = (change) => {
    const follow = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    change();
    if (follow) toEnd();
  };
  const firstPending = () => Array.from(pending.values(), ({ item }) => item).find((item) => item && item.isConnected);

  const showMessage = (message) => changing(() => {
    const known = shown.get(message.key);
    if (message.id && pending.has(message.id)) {
      pending.get(message.id).item?.remove();
      pending.delete(message.id);
      keepPending();
    }
    const item = known ? known.item : make("li");
    fill(item, message);
    shown.set(message.key, { message, item });
    if (!known) list.insertBefore(item, writing?.item || firstPending() || null);
  });
  const showPending = () => changing(() => {
    for (const one of pending.values()) {
      if (one.item?.isConnected) continue;
      one.item = make("li", { class: "one visitor pending" }, make("span", { class: "hide" }, "You, not sent yet"),
        make("p", {}, one.text));
      list.append(one.item);
    }
  });

  // A reply that is being written.

  let writing = null;
  const stopWriting = () => {
    if (!writing) return;
    clearTimeout(writing.timer);
    writing.item.remove();
    writing = null;
    if (state.textContent === WORDS.writing) tell("");
  };
  const showWriting = (id, text) => changing(() => {
    if (writing && writing.id !== id) stopWriting();
    if (!writing) {
      // What grows is not read out word by word: the whole of it is, once it is there.
      writing = { id, item: make("li", { class: "one bot writing", "aria-hidden": "true" }) };
      list.insertBefore(writing.item, firstPending() || null);
      tell("writing");
    }
    clearTimeout(writing.timer);
    writing.timer = setTimeout(stopWriting, WRITING_LASTS);
    writing.item.replaceChildren(...blocks(text));
  });

  // What the gateway tells.

  let place = null;
  const heard = (frame) => {
    switch (frame.type) {
      case "welcome":
        line.up();
        break;
      case "opening":
        stopWriting();
        shown.clear();
        list.replaceChildren();
        for (const message of frame.messages) showMessage(message);
        for (const one of pending.values()) one.item = null;
        showPending();
        toEnd();
        break;
      case "message":
        if (frame.message.from === "bot") stopWriting();
        if (frame.message.from !== "visitor" && panel.hidden && !shown.has(frame.message.key)) {
          unread += 1;
          showUnread();
        }
        showMessage(frame.message);
        break;
      case "edited":
        if (shown.has(frame.key)) {
          const { message } = shown.get(frame.key);
          showMessage({ ...message, text: frame.text, attachments: frame.attachments, edited: true });
        }
        break;
      case "deleted":
        shown.get(frame.key)?.item.remove();
        shown.delete(frame.key);
        break;
      case "cleared":
        shown.clear();
        list.replaceChildren();
        showPending();
        break;
      case "writing":
        if (frame.over) stopWriting();
        else showWriting(frame.id, frame.text);
        break;
      case "taken":
        answered(frame.id, false);
        break;
      case "refused":
        answered(frame.id, true, frame.again);
        break;
    }
    if (frame.place) place = frame.place;
  };

  // What the visitor says: kept until the gateway says that it is taken, and sent again until then under the same id.

  let sending = null;
  let resend = 0;
  const answered = (id, refused, again) => {
    sending = null;
    const one = pending.get(id);
    if (one && refused && again) {
      clearTimeout(resend);
      resend = setTimeout(sendNext, 3000);
      return;
    }
    if (one && refused) {
      one.item?.classList.add("wrong");
      one.item?.append(make("span", { class: "note" }, "Not sent."));
      pending.delete(id);
      keepPending();
    } else if (one) {
      one.taken = true;
      one.item?.classList.remove("pending");
      keepPending();
    }
    sendNext();
  };
  const sendNext = () => {
    if (sending || !line.ready()) return;
    const next = Array.from(pending.values()).find((one) => !one.taken);
    if (!next) return;
    sending = next.id;
    line.send({ type: "message", id: next.id, text: next.text });
  };
  const say = (text) => {
    pending.set(text.id, { ...text, item: null });
    keepPending();
    showPending();
    toEnd();
    line.wake();
    sendNext();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (!text) return;
    field.value = "";
    say({ id: newId(), text });
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });

  // Who the visitor is.

  const tokenOf = async (anew) => {
    if (script.dataset.tokenUrl) {
      const answer = await fetch(new URL(script.dataset.tokenUrl, document.baseURI), { cache: "no-store" });
      if (!answer.ok) throw new Error("no token");
      return (await answer.json()).token;
    }
    const known = remembered(":visitor");
    if (known && !anew && Date.now() - known.at < RENEWED) return known.token;
    const answer = await fetch(new URL("visitor", base), {
      method: "POST",
      headers: known ? { Authorization: `Bearer ${known.token}` } : {},
    });
    if (!answer.ok) throw new Error("no token");
    const { token } = await answer.json();
    const meanwhile = remembered(":visitor");
    if (!known && meanwhile) return meanwhile.token; // another tab was first: they are one visitor
    remember(":visitor", { token, at: Date.now() });
    return token;
  };

  // The line to the gateway: a WebSocket, or, where none gets through, a stream of events and posts.

  const UNKNOWN = 4401;
  const IDLE = 4408;
  const line = {
    socket: null, stream: null, token: null, anew: false, tries: 0, fruitless: 0, timer: 0, working: false, greeted: false,

    ready() {
      return this.greeted && (this.stream || this.socket)?.readyState === 1;
    },

    async connect() {
      if (this.working || this.socket || this.stream) return;
      this.working = true;
      clearTimeout(this.timer);
      tell("connecting");
      try {
        this.token = await tokenOf(this.anew);
        this.anew = false;
      } catch {
        this.working = false;
        this.later();
        return;
      }
      this.working = false;
      if (this.fruitless < 2 && "WebSocket" in window) this.bySocket();
      else this.byStream();
    },

    bySocket() {
      const address = new URL("socket", base);
      address.protocol = address.protocol.replace("http", "ws");
      const socket = new WebSocket(address);
      this.socket = socket;
      let opened = false;
      const slow = setTimeout(() => socket.close(), OPENS_WITHIN);
      socket.addEventListener("open", () => {
        opened = true;
        clearTimeout(slow);
        socket.send(JSON.stringify({ type: "hello", token: this.token, place: place || "" }));
      });
      socket.addEventListener("message", (event) => {
        heard(JSON.parse(event.data));
      });
      socket.addEventListener("close", (event) => {
        clearTimeout(slow);
        this.socket = null;
        if (!opened) this.fruitless += 1;
        this.down(event.code);
      });
    },

    byStream() {
      const address = new URL("events", base);
      address.searchParams.set("token", this.token);
      if (place) address.searchParams.set("place", place);
      const stream = new EventSource(address);
      this.stream = stream;
      stream.addEventListener("message", (event) => heard(JSON.parse(event.data)));
      stream.addEventListener("error", () => {
        // The browser would come back by itself, but with the token that it has.
        stream.close();
        this.stream = null;
        this.fruitless = 0;
        this.anew = this.tries > 1;
        this.down(0);
      });
    },

    up() {
      this.greeted = true;
      this.tries = 0;
      if (this.socket) this.fruitless = 0;
      tell("");
      sendNext();
    },

    down(code) {
      this.greeted = false;
      sending = null;
      stopWriting();
      if (code === UNKNOWN) this.anew = true;
      if (code === IDLE) {
        tell("asleep");
        return;
      }
      this.later();
    },

    later() {
      tell("offline");
      const wait = Math.min(LONGEST_WAIT, 500 * 2 ** this.tries) * (0.5 + Math.random() / 2);
      this.tries = Math.min(this.tries + 1, 10);
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.connect(), this.tries === 1 ? Math.random() * 1000 : wait);
    },

    wake() {
      if (!this.socket && !this.stream) this.connect();
    },

    async send(frame) {
      if (this.socket) {
        this.socket.send(JSON.stringify(frame));
        return;
      }
      try {
        const answer = await fetch(own, {
          method: "POST",
          headers: { Authorization: `Bearer ${this.token}`, "Content-Type": "application/json" },
          body: JSON.stringify({ id: frame.id, text: frame.text }),
        });
        heard({ type: answer.ok ? "taken" : "refused", id: frame.id, again: answer.status >= 429 || answer.status === 401 });
      } catch {
        heard({ type: "refused", id: frame.id, again: true });
      }
    },
  };

  const WORDS = { "": "", connecting: "Connecting …", offline: "Offline: trying again", asleep: "Asleep",
    writing: "Writing …" };
  const tell = (what) => {
    state.textContent = WORDS[what];
    host.dataset.state = what || "ready";
  };

  window.addEventListener("online", () => line.wake());
  window.addEventListener("focus", () => line.wake());
  document.addEventListener("visibilitychange", () => document.hidden || line.wake());

  const begin = () => {
    document.body.append(host);
    showUnread();
    showPending();
    line.connect();
  };
  if (document.body) begin();
  else document.addEventListener("DOMContentLoaded", begin);
})();

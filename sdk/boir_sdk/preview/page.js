"use strict";

const at = (id) => document.getElementById(id);
const FAINT = 0.1; // keypoints below this score aren't drawn in the picture
const RETRY_MS = 2000;
let events = null;
let shownSource = null; // number of the source in the picture
let sending = null;
let heldUntil = 0; // while the slider is being moved it doesn't follow the server's value
let last = null;

function connect() {
  if (events) events.close();
  events = new EventSource("/events");
  events.onmessage = (message) => show(JSON.parse(message.data));
  events.onerror = () => {
    events.close();
    shownSource = null;
    notice("no connection; trying again");
    if (!document.hidden) setTimeout(() => { if (!document.hidden && shownSource === null) connect(); }, RETRY_MS);
  };
}

function disconnect() {
  if (events) events.close();
  at("picture").removeAttribute("src"); // gives the viewer's place back
  shownSource = null;
}

function show(state) {
  last = state;
  listSources(state.sources);
  const wanted = Math.max(0, at("source").selectedIndex);
  const source = state.sources[wanted];
  at("pause").textContent = state.paused ? "Start" : "Pause";
  const slider = at("threshold");
  slider.min = Math.floor(state.lowest * 100) / 100;
  if (Date.now() > heldUntil) slider.value = state.threshold;
  at("value").textContent = Number(slider.value).toFixed(2);
  if (!source) {
    notice("waiting for the first frame");
    return;
  }
  if (shownSource !== wanted && source.index !== null) {
    shownSource = wanted;
    at("picture").src = `/stream?source=${wanted}&t=${Date.now()}`;
  }
  at("fps").textContent = source.fps.toFixed(1);
  at("latency").textContent = source.latency_ms ?? "–";
  at("people").textContent = source.people;
  at("dropped").textContent = source.dropped;
  notice(source.event ? `${source.event.kind}: ${source.event.message}` : state.paused ? "paused" : "");
  fillTable(source);
}

function listSources(sources) {
  const select = at("source");
  if (select.options.length !== sources.length) {
    const chosen = Math.max(0, select.selectedIndex);
    select.replaceChildren(...sources.map((source) => new Option(source.name)));
    select.selectedIndex = Math.min(chosen, sources.length - 1);
  }
}

function fillTable(source) {
  const row = (title, cells) => {
    const line = document.createElement("tr");
    const head = document.createElement("th");
    head.textContent = title;
    line.append(head, ...cells);
    return line;
  };
  const cell = (kind, text, faint) => {
    const made = document.createElement(kind);
    made.textContent = text;
    made.className = faint ? "faint" : "";
    return made;
  };
  const people = source.table;
  const titles = people.map((person, i) =>
    cell("th", `${person.id === null ? i + 1 : "#" + person.id} (${person.score.toFixed(2)})`));
  at("table").tHead.replaceChildren(row("", titles));
  at("table").tBodies[0].replaceChildren(...source.keypoints.map((name, k) => row(name, people.map((person) => {
    const [x, y, score] = person.keypoints[k];
    return cell("td", `${x.toFixed(0)}, ${y.toFixed(0)}  ${score.toFixed(2)}`, score < FAINT);
  }))));
}

function notice(text) {
  at("notice").textContent = text;
  at("notice").hidden = text === "";
}

async function send(settings) {
  try {
    const answer = await fetch("/settings", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(settings),
    });
    if (!answer.ok) notice(`refused: ${await answer.text()}`);
  } catch {
    notice("no connection; trying again");
  }
}

at("pause").addEventListener("click", () => { if (last) send({ paused: !last.paused }); });
at("threshold").addEventListener("input", () => {
  at("value").textContent = Number(at("threshold").value).toFixed(2);
  heldUntil = Date.now() + 1000;
  clearTimeout(sending);
  sending = setTimeout(() => { // one request for a slide, not one a pixel
    send({ threshold: Number(at("threshold").value) });
  }, 80);
});
at("source").addEventListener("change", () => { if (last) show(last); });
at("picture").addEventListener("error", () => {
  if (at("picture").hasAttribute("src")) setTimeout(() => { shownSource = null; }, RETRY_MS);
});
document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
connect();

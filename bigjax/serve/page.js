"use strict";
const takes = document.body.dataset.takes;
const byId = (id) => document.getElementById(id);
const colours = ["#9fd3ff", "#b9e6a1", "#ffc9a3", "#dcc1ff", "#ffe38a", "#a6ece0", "#ffb3c7"];
const colourOf = new Map();

function colour(label) {
  if (!colourOf.has(label)) colourOf.set(label, colours[colourOf.size % colours.length]);
  return colourOf.get(label);
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

// Places count characters, and JavaScript halves of them.
function marked(answer, spans) {
  const parts = document.createDocumentFragment();
  const text = Array.from(answer.text);
  const shift = answer.start || 0;
  let at = 0;
  for (const span of spans) {
    const label = span.type || span.tag;
    parts.append(text.slice(at, span.start - shift).join(""));
    const mark = element("mark", text.slice(span.start - shift, span.end - shift).join(""));
    mark.style.background = colour(label);
    mark.append(element("small", `${label} ${span.score.toFixed(2)}`));
    parts.append(mark);
    at = span.end - shift;
  }
  parts.append(text.slice(at).join(""));
  return parts;
}

function table(answer) {
  const made = document.createElement("table");
  for (const [name, value] of Object.entries(answer)) {
    const row = made.insertRow();
    const shown = typeof value === "number" ? +value.toFixed(4) : value;
    row.insertCell().textContent = name;
    row.insertCell().textContent = typeof shown === "object" ? JSON.stringify(shown) : shown;
  }
  return made;
}

function show(answer) {
  const spans = answer.entities || answer.words;
  byId("found").replaceChildren(spans && answer.text !== undefined ? marked(answer, spans) : table(answer));
}

function fail(reason) {
  const made = element("p", reason);
  made.className = "error";
  byId("found").replaceChildren(made);
}

function request() {
  if (takes === "image") {
    const file = byId("file").files[0];
    if (!file) throw new Error("choose an image");
    return { body: file, headers: { "Content-Type": "application/octet-stream" } };
  }
  const given = byId("given").value;
  const value = takes === "row" ? JSON.parse(given) : given;
  return { body: JSON.stringify({ [takes]: value }), headers: { "Content-Type": "application/json" } };
}

byId("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const response = await fetch("predict", { method: "POST", ...request() });
    const found = await response.json();
    if (response.ok) show(found.answers[0]);
    else fail(found.error);
  } catch (error) {
    fail(error.message);
  }
});

if (takes === "image") {
  byId("given").hidden = true;
  byId("file").hidden = false;
  byId("label").textContent = "Image";
} else if (takes === "row") {
  byId("label").textContent = "A row as JSON, {\"column\": value}";
}

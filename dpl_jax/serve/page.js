// Sends each image to /predict, one after the other, and shows what comes back. Names from the
// answer become text, never HTML.
"use strict";

const drop = document.getElementById("drop");
const input = document.getElementById("files");
const statusLine = document.getElementById("status");
const cards = document.getElementById("cards");
const template = document.getElementById("card");
const maxMb = Number(document.body.dataset.maxMb);
const accepted = document.body.dataset.accept.split(",");
const SHOWN = 5;
const TINY = 64;
let waiting = Promise.resolve();
let left = 0;

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

function tell() {
  statusLine.textContent = left ? `${left} ${left === 1 ? "image" : "images"} to go …` : "";
}

function refusal(file) {
  if (!accepted.includes(file.type)) return "This is not an image of a kind that can be read here.";
  if (file.size > maxMb * 2 ** 20) return `The file is larger than ${maxMb} MB.`;
  return "";
}

async function ask(file) {
  const refused = refusal(file);
  if (refused) throw new Error(refused);
  let response;
  try {
    response = await fetch("predict", {
      method: "POST",
      headers: { "Content-Type": file.type },
      body: file,
    });
  } catch {
    throw new Error("The server does not answer; is it still running?");
  }
  const answer = await response.json().catch(() => ({ error: `The server said ${response.status}.` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function row({ name, probability }) {
  const item = document.createElement("li");
  const bar = Object.assign(document.createElement("span"), { className: "bar" });
  bar.style.width = percent(probability).replace(" ", "");
  const label = Object.assign(document.createElement("span"), { className: "name", textContent: name });
  const value = Object.assign(document.createElement("span"), { className: "value" });
  value.textContent = percent(probability);
  item.append(bar, label, value);
  return item;
}

function showClasses(card, classes) {
  const list = card.querySelector("ol");
  const more = card.querySelector(".more");
  list.append(...classes.slice(0, SHOWN).map(row));
  if (classes.length <= SHOWN) return;
  more.hidden = false;
  more.textContent = `All ${classes.length} classes`;
  more.addEventListener("click", () => {
    more.hidden = true;
    list.append(...classes.slice(SHOWN).map(row));
  });
}

function showMap(card, answer) {
  const [map, strength, share] = [".map", ".strength", ".share"].map((name) => card.querySelector(name));
  share.hidden = false;
  if (!answer.map) {
    share.textContent = "No layer of the image tower has prompts.";
    return;
  }
  share.textContent = `${percent(answer.share)} of the attention goes to the prompts.`;
  map.src = answer.map;
  map.hidden = strength.hidden = false;
  const slider = strength.querySelector("input");
  slider.addEventListener("input", () => { map.style.opacity = slider.value / 100; });
}

function show(file, answer) {
  const card = template.content.firstElementChild.cloneNode(true);
  card.querySelector("h2").textContent = answer.classes[0].name;
  card.querySelector(".file").textContent = file.name;
  const seen = card.querySelector(".seen");
  seen.alt = `${file.name}, as the model sees it`;
  seen.addEventListener("load", () => {
    for (const image of card.querySelectorAll(".stack img")) {
      image.classList.toggle("tiny", seen.naturalWidth <= TINY);
    }
  });
  seen.src = answer.image;
  showClasses(card, answer.classes);
  showMap(card, answer);
  cards.prepend(card);
}

function showFailure(file, message) {
  const card = document.createElement("article");
  card.className = "card failed";
  const title = Object.assign(document.createElement("h2"), { textContent: file.name });
  card.append(title, Object.assign(document.createElement("p"), { textContent: message }));
  cards.prepend(card);
}

function add(files) {
  for (const file of files) {
    left += 1;
    waiting = waiting
      .then(() => ask(file))
      .then((answer) => show(file, answer), (error) => showFailure(file, error.message))
      .finally(() => { left -= 1; tell(); });
  }
  tell();
}

input.addEventListener("change", () => { add([...input.files]); input.value = ""; });
document.addEventListener("paste", (event) => add([...event.clipboardData.files]));
document.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
document.addEventListener("dragleave", () => drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  add([...event.dataTransfer.files]);
});

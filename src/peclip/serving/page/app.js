"use strict";
// The page: sends a video, follows its prediction, and shows it. Nothing leaves the server that sent this file.

const $ = (id) => document.getElementById(id);
const state = { model: null, limits: null, job: null, events: null, rows: [], people: new Map(), chosen: null,
  chart: null, timeAt: null, pictures: new Map(), file: null, hover: null, request: null, turn: 0 };
const camera = { stream: null, timer: null, recorder: null, busy: false, wanted: false };

async function api(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not respond. Check that peclip serve is running.");
  }
  if (response.status === 401) { $("token-panel").hidden = false; $("token").focus(); }
  if (response.ok) return response;
  let message = `The server responded with status ${response.status}.`;
  try { message = (await response.json()).error.message; } catch { /* no JSON */ }
  throw new Error(message);
}

async function begin() {
  try {
    if (location.hash.startsWith("#token=")) {
      const token = decodeURIComponent(location.hash.slice(7));
      history.replaceState(null, "", location.pathname);
      await sendToken(token);
    }
    const found = await (await api("v1/models")).json();
    state.model = found.models[0];
    state.limits = found.limits;
    const model = state.model;
    $("model").textContent = `${model.name}: ${model.labels.length} labels, ${model.device}, ${model.precision}`;
    $("about-faces").hidden = !model.face_crop;
    $("keep").textContent = found.limits.keep_s >= 60 ? `${Math.round(found.limits.keep_s / 60)} minutes`
      : `${found.limits.keep_s} seconds`;
    $("token-panel").hidden = true;
  } catch (error) {
    $("model").textContent = error.message;
  }
}

async function sendToken(token) {
  await api("v1/session", { method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token }) });
}

// Sending

function options() {
  const given = {};
  for (const name of ["window", "hop", "max_people"]) if ($(name).value !== "") given[name] = $(name).value;
  return given;
}

function send(file) {
  open(file);
  const limit = state.limits ? state.limits.max_bytes : Infinity;
  if (file.size > limit) {
    fail(`${file.name} is larger than ${Math.round(limit / 1e6)} MB, the limit of this server.`);
    return;
  }
  const form = new FormData();
  for (const [name, value] of Object.entries(options())) form.append(name, value);
  form.append("file", file, file.name);
  const request = state.request = new XMLHttpRequest(); // fetch does not tell how much was sent
  request.open("POST", "v1/predictions");
  request.upload.onprogress = (event) => say(`Sending ${file.name}`, event.loaded / event.total);
  request.onload = () => {
    state.request = null;
    let body = {};
    try { body = JSON.parse(request.responseText); } catch { /* no JSON */ }
    if (request.status === 202) follow(body);
    else fail(body.error ? body.error.message : `The server responded with status ${request.status}.`);
  };
  request.onerror = () => fail("The video could not be sent. It may be too large, or the server has ended.");
  request.send(form);
}

async function sendAddress() {
  const address = $("address").value.trim();
  if (!address) return;
  open(null);
  const turn = state.turn;
  try {
    const response = await api("v1/predictions", { method: "POST", headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ address, ...options() }) });
    const job = await response.json();
    if (turn === state.turn) follow(job);
    else await api(`v1/predictions/${job.id}`, { method: "DELETE" }); // nobody waits for it any more
  } catch (error) { if (turn === state.turn) fail(error.message); }
}

// Following

function open(file) {
  close();
  state.file = file;
  Object.assign(state, { rows: [], people: new Map(), chosen: null, pictures: new Map(), hover: null });
  $("job-panel").hidden = false;
  $("job-title").textContent = file ? file.name : "Prediction";
  $("error").textContent = "";
  $("result").hidden = true;
  $("unplayable").hidden = true;
  $("why").hidden = true;
  $("explain").disabled = $("overlay-save").disabled = true;
  $("people").replaceChildren();
  $("table").replaceChildren();
  const video = $("video");
  if (video.src) URL.revokeObjectURL(video.src);
  if (video.poster) URL.revokeObjectURL(video.poster);
  for (const name of ["src", "poster"]) video.removeAttribute(name);
  video.load(); // otherwise the former one goes on
  if (file?.type.startsWith("image/")) video.poster = URL.createObjectURL(file);
  else if (file) video.src = URL.createObjectURL(file);
  if (state.chart) { state.chart.destroy(); state.chart = null; }
  say("Sending", 0);
}

function close() {
  state.turn += 1;
  if (state.request) state.request.abort();
  state.request = null;
  if (state.events) state.events.close();
  state.events = null;
  state.job = null;
}

function say(text, progress, count = "") {
  if ($("state").textContent !== text) $("state").textContent = text; // screen readers say each change
  $("count").textContent = count;
  $("progress").hidden = progress === 1;
  if (progress === null) $("progress").removeAttribute("value");
  else $("progress").value = progress;
}

function fail(message) {
  say("Failed", 1);
  $("error").textContent = message;
}

function follow(job) {
  state.job = job;
  const events = state.events = new EventSource(`v1/predictions/${job.id}/events`);
  events.addEventListener("rows", (event) => { if (state.events === events) addRows(JSON.parse(event.data)); });
  events.addEventListener("state", (event) => { if (state.events === events) update(JSON.parse(event.data)); });
  events.onerror = () => {
    if (state.events !== events) return;
    if (events.readyState === EventSource.CLOSED) lost(job.id);
    else say("The server does not respond; trying again", null);
  };
  for (const link of document.querySelectorAll("#downloads a")) {
    link.href = `v1/predictions/${job.id}/${link.dataset.file}`;
  }
  update(job);
}

async function lost(id) {
  try {
    const job = await (await api(`v1/predictions/${id}?limit=0`)).json();
    if (state.job?.id === id) update(job);
  } catch (error) { if (state.job?.id === id) fail(error.message); }
}

function update(job) {
  state.job = job;
  $("job-title").textContent = job.name;
  const ended = ["done", "failed", "cancelled"].includes(job.state);
  const words = { queued: "Waiting for other videos", running: "Reading", done: "Done", failed: "Failed",
    cancelled: "Cancelled" };
  const rows = job.num_rows ? `${job.num_rows} ${job.num_rows === 1 ? "row" : "rows"}` : "";
  const nobody = job.state === "done" && !state.people.size ? ", no face" : "";
  if (ended) say([words[job.state], rows].filter(Boolean).join(", ") + nobody, 1);
  else say(words[job.state], job.state === "queued" ? null : job.progress, rows);
  $("error").textContent = job.error || "";
  if (job.video) $("result").hidden = false;
  if (!state.file && job.video && !$("video").src) $("video").src = `v1/predictions/${job.id}/video`;
  if (!ended) { redraw(); return; }
  state.events.close();
  if ($("video").poster && state.rows.some((row) => row.end_s > 0)) $("unplayable").hidden = false;
  for (const id of job.people) loadPicture(job.id, id);
  $("people-title").hidden = !state.people.size;
  allowRequests();
  redraw();
}

/** Lets a person ask for what is computed after the end, of the prediction that is shown. */
function allowRequests() {
  const ended = ["done", "failed"].includes(state.job?.state);
  $("overlay-save").disabled = !ended || !state.job.num_rows;
  $("explain").disabled = !ended || !state.people.size;
}

function loadPicture(job, id) {
  if (state.pictures.has(id)) return;
  const picture = new Image();
  picture.alt = "";
  picture.onload = () => { showPeople(); redraw(); };
  picture.src = `v1/predictions/${job}/people/${id}.png`;
  state.pictures.set(id, picture);
}

function addRows(rows) {
  for (const row of rows) {
    state.rows.push(row);
    if (row[`prob_${state.model.labels[0]}`] === null) continue;
    if (!state.people.has(row.track_id)) state.people.set(row.track_id, []);
    state.people.get(row.track_id).push(row);
    if (state.chosen === null) state.chosen = row.track_id;
  }
  const body = document.createDocumentFragment();
  for (const row of rows.slice(0, Math.max(0, 2000 - $("table").children.length))) body.append(tableRow(row));
  $("table").append(body);
  showPeople();
  redraw();
}

function tableRow(row) {
  const line = document.createElement("tr");
  const score = row.score === null ? "" : row.score.toFixed(2);
  const cells = [`${row.start_s.toFixed(1)}–${row.end_s.toFixed(1)} s`, row.track_id < 0 ? "–" : row.track_id,
    row.label || "–", score, row.status];
  for (const cell of cells) {
    const made = document.createElement("td");
    made.textContent = cell;
    line.append(made);
  }
  return line;
}

// Showing

const colourOf = (id) => id < 0 ? "#999999"
  : state.model.person_colours[id % state.model.person_colours.length];
const pictureOf = (id) => state.pictures.get(id)?.naturalWidth ? state.pictures.get(id) : null; // null: not loaded
const nameOf = (id) => id < 0 ? "Whole frame" : `Person ${id}`;

function square(colour) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("viewBox", "0 0 10 10");
  made.setAttribute("aria-hidden", "true");
  const part = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of [["width", 10], ["height", 10], ["fill", colour]]) part.setAttribute(name, value);
  made.append(part);
  return made;
}

function showPeople() {
  const ids = [...state.people.keys()].sort((a, b) => a - b);
  const shown = ids.map((id) => `${id}:${Boolean(pictureOf(id))}`).join();
  if ($("people").dataset.shown === shown && $("people").children.length) return;
  $("people").dataset.shown = shown;
  const focused = document.activeElement?.name === "person";
  $("people").replaceChildren(...ids.map((id) => {
    const label = document.createElement("label"), input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "person", value: id, checked: id === state.chosen });
    input.onchange = () => choose(id);
    const picture = pictureOf(id);
    const text = document.createElement("span");
    text.textContent = nameOf(id);
    label.append(input, picture ? picture.cloneNode() : square(colourOf(id)), text);
    return label;
  }));
  if (focused) document.querySelector("#people input:checked")?.focus();
}

function choose(id) {
  state.chosen = id;
  for (const input of document.querySelectorAll("#people input")) input.checked = Number(input.value) === id;
  redraw();
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function length() {
  const rows = state.rows.length ? Math.max(...state.rows.slice(-50).map((row) => row.end_s)) : 0;
  const video = $("video").duration;
  return Math.max(rows, state.job?.video?.duration_s || 0, Number.isFinite(video) ? video : 0);
}

let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; if (state.model && !$("result").hidden) { drawAll(); } });
}

function drawAll() {
  const time = $("video").currentTime || 0, ids = [...state.people.keys()].sort((a, b) => a - b);
  drawOverlay(time);
  const people = ids.map((id) => ({ rows: state.people.get(id), colour: colourOf(id), name: id < 0 ? "all" : `${id}`,
    picture: pictureOf(id), chosen: id === state.chosen && ids.length > 1 }));
  state.timeAt = drawLanes($("lanes"), people, { end: length(), time, colours: state.model.label_colours,
    ink: css("--ink"), soft: css("--soft"), track: css("--track") });
  const lanes = $("lanes"), row = rowAt(state.people.get(state.chosen) || [], time);
  lanes.setAttribute("aria-valuemax", length().toFixed(1));
  lanes.setAttribute("aria-valuenow", time.toFixed(1));
  lanes.setAttribute("aria-valuetext", `${time.toFixed(1)} seconds${row ? `, ${row.label || row.status}` : ""}`);
  drawChart();
  showScores(state.hover ?? time);
}

function drawOverlay(time) {
  const canvas = $("overlay"), size = state.job?.video;
  if (!size) return;
  if (canvas.width !== size.width || canvas.height !== size.height) {
    canvas.width = size.width;
    canvas.height = size.height;
  }
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (const [id, rows] of state.people) {
    const box = id < 0 ? null : boxAt(rows, time), row = rowAt(rows, time);
    if (box) drawBox(context, box, colourOf(id), tagOf(row));
  }
}

const tagOf = (row) => row && row.label ? `${row.track_id} ${row.label} ${Math.round(100 * row.score)} %`
  : row ? `${row.track_id} ${row.status}` : "";

function showScores(time) {
  const row = rowAt(state.people.get(state.chosen) || [], time), labels = state.model.labels;
  const key = `${state.job?.id} ${row ? `${row.track_id} ${row.window}` : "none"}`;
  if ($("now").dataset.key === key) return;
  $("now").dataset.key = key;
  $("now").replaceChildren(...labels.map((label) => {
    const line = document.createElement("div"), name = document.createElement("span"),
      value = document.createElement("span");
    name.textContent = label;
    value.className = "value";
    value.textContent = row ? row[`prob_${label}`].toFixed(2) : "–";
    if (row && row.label === label) line.className = "best";
    line.append(square(state.model.label_colours[label]), name, value);
    return line;
  }));
}

function drawChart() {
  const rows = state.people.get(state.chosen) || [], labels = state.model.labels;
  const key = `${state.chosen} ${rows.length} ${css("--ink")} ${length()}`;
  const width = $("chart").clientWidth;
  if (state.chart && state.chart.key === key) {
    if (state.chart.width !== width) state.chart.setSize({ width, height: 220 });
    return;
  }
  if (state.chart) state.chart.destroy();
  if (!rows.length) { state.chart = null; return; }
  const data = [rows.map((row) => row.mid_s), ...labels.map((label) => rows.map((row) => row[`prob_${label}`]))];
  const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line") } };
  const chart = state.chart = new uPlot({
    width, height: 220, legend: { show: false }, cursor: { drag: { x: false, y: false } },
    scales: { x: { time: false, range: () => [0, length() || 1] }, y: { range: [0, 1] } },
    axes: [{ ...axis, values: (_, ticks) => ticks.map((tick) => `${tick} s`) }, { ...axis, size: 46 }], padding: [null, 10, null, 0],
    series: [{}, ...labels.map((label) => ({ label, stroke: inkOf(state.model.label_colours[label]), width: 2,
      points: { show: rows.length < 3 } }))],
    hooks: { setCursor: [(plot) => { hover(plot.cursor.left >= 0 ? plot.posToVal(plot.cursor.left, "x") : null); }] },
  }, data, $("chart"));
  chart.key = key;
  chart.over.addEventListener("click", (event) => seek(chart.posToVal(event.offsetX, "x")));
  const best = labels.reduce((a, b) => (total(rows, a) >= total(rows, b) ? a : b));
  $("chart").setAttribute("aria-label", `${nameOf(state.chosen)}: mostly ${best}; the table has all values`);
}

const total = (rows, label) => rows.reduce((sum, row) => sum + row[`prob_${label}`], 0);
const inkOf = (colour) => colour === "#000000" ? css("--ink") : colour; // black is invisible on dark screens

function hover(time) {
  state.hover = time;
  if (state.model) showScores(time ?? ($("video").currentTime || 0));
}

function seek(time) {
  const video = $("video");
  if (video.readyState > 0) video.currentTime = Math.min(Math.max(0, time), video.duration || time);
  redraw();
}

// Saving

async function withOverlay(button, use) {
  const text = button.textContent, job = state.job;
  button.disabled = true;
  button.textContent = "writing…";
  try {
    const blob = await (await api(`v1/predictions/${job.id}/overlay.mp4`)).blob();
    if (state.job?.id === job.id) use(URL.createObjectURL(blob), job);
  } catch (error) { if (state.job?.id === job.id) $("error").textContent = error.message; }
  button.disabled = false;
  button.textContent = text;
  allowRequests();
}

function saveOverlay(address, job) {
  const link = document.createElement("a");
  link.href = address;
  link.download = `${job.name.replace(/\.[^.]*$/, "")}-overlay.mp4`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

async function explain() {
  const button = $("explain"), time = $("video").currentTime || 0, job = state.job;
  const query = new URLSearchParams({ at: time.toFixed(3), person: state.chosen, format: "png" });
  button.disabled = true;
  button.textContent = "Explaining…";
  try {
    const response = await api(`v1/predictions/${job.id}/explain?${query}`);
    const blob = await response.blob();
    if (state.job?.id === job.id) {
      if ($("why-picture").src) URL.revokeObjectURL($("why-picture").src);
      $("why-picture").src = URL.createObjectURL(blob);
      $("why-text").textContent = `${nameOf(state.chosen)} at ${time.toFixed(1)} s: what the prediction rests on`;
      $("why-picture").alt = $("why-text").textContent;
      $("why").hidden = false;
    }
  } catch (error) { if (state.job?.id === job.id) $("error").textContent = error.message; }
  button.textContent = "Explain this moment";
  allowRequests();
}

async function remove() {
  const job = state.job;
  close();
  $("video").removeAttribute("src");
  $("video").load();
  $("job-panel").hidden = true;
  $("input-panel").scrollIntoView();
  $("file").focus();
  if (job) await api(`v1/predictions/${job.id}`, { method: "DELETE" }).catch(() => {});
}

// Webcam

async function startCamera() {
  if (camera.wanted) return;
  $("camera-panel").hidden = false;
  if (!navigator.mediaDevices) {
    $("camera-state").textContent = "Browsers allow the webcam only on localhost or over https.";
    return;
  }
  camera.wanted = true;
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } }, audio: false });
  } catch (error) {
    camera.wanted = false;
    $("camera-state").textContent = `The webcam cannot be used: ${error.message}`;
    return;
  }
  if (!camera.wanted) { endStream(stream); return; } // stopped while the browser asked
  camera.stream = stream;
  $("camera").srcObject = camera.stream;
  await $("camera").play();
  $("camera-state").textContent = "Starting";
  camera.timer = setInterval(sendStill, 400);
}

async function sendStill() {
  const video = $("camera");
  if (camera.busy || !camera.stream || !video.videoWidth) return;
  camera.busy = true;
  try {
    const picture = document.createElement("canvas");
    picture.width = video.videoWidth;
    picture.height = video.videoHeight;
    picture.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((done) => picture.toBlob(done, "image/jpeg", 0.9));
    const response = await api("v1/frames?name=webcam.jpg", { method: "POST", headers: { "Content-Type": "image/jpeg" },
      body: blob });
    if (camera.stream) showStill(await response.json());
  } catch (error) {
    $("camera-state").textContent = error.message;
  }
  camera.busy = false;
}

function showStill(still) {
  const canvas = $("camera-overlay");
  canvas.width = still.video.width;
  canvas.height = still.video.height;
  const context = canvas.getContext("2d"), faces = still.rows.filter((row) => row.x !== null);
  for (const row of faces) drawBox(context, row, colourOf(row.track_id), tagOf(row));
  const seen = faces.map((row) => `${row.track_id} ${row.label || row.status}`).join("; ") || "No face";
  if ($("camera-state").textContent !== seen) $("camera-state").textContent = seen;
}

function endStream(stream) {
  for (const track of stream.getTracks()) track.stop();
}

function stopCamera() {
  clearInterval(camera.timer);
  camera.wanted = false;
  if (camera.recorder) camera.recorder.stop();
  if (camera.stream) endStream(camera.stream);
  camera.stream = null;
  $("camera-panel").hidden = true;
  $("camera-start").focus();
}

function record() {
  const button = $("camera-record");
  if (camera.recorder) { camera.recorder.stop(); return; }
  if (!camera.stream) return;
  const pieces = [], recorder = camera.recorder = new MediaRecorder(camera.stream), begun = performance.now();
  recorder.ondataavailable = (event) => {
    pieces.push(event.data);
    if (camera.recorder) button.textContent = `Stop and predict (${Math.round((performance.now() - begun) / 1000)} s)`;
  };
  recorder.onstop = () => {
    camera.recorder = null;
    button.textContent = "Record";
    button.setAttribute("aria-pressed", "false");
    const type = recorder.mimeType.split(";")[0];
    send(new File(pieces, type === "video/mp4" ? "webcam.mp4" : "webcam.webm", { type }));
  };
  recorder.start(500);
  button.textContent = "Stop and predict";
  button.setAttribute("aria-pressed", "true");
}

// Events

function connect() {
  $("file").onchange = () => {
    const [file] = $("file").files;
    $("file").value = ""; // so that the same file can be chosen again, with other options
    if (file) send(file);
  };
  const drop = $("drop");
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files[0]) send(event.dataTransfer.files[0]);
    });
  }
  $("address-send").onclick = sendAddress;
  $("address").onkeydown = (event) => { if (event.key === "Enter") sendAddress(); };
  $("token-form").onsubmit = async (event) => {
    event.preventDefault();
    try { await sendToken($("token").value); $("token-error").textContent = ""; await begin(); }
    catch (error) { $("token-error").textContent = error.message; }
  };
  $("remove").onclick = remove;
  $("explain").onclick = explain;
  $("overlay-save").onclick = (event) => withOverlay(event.target, saveOverlay);
  $("play-overlay").onclick = (event) => withOverlay(event.target, (address) => {
    $("video").src = address;
    $("unplayable").hidden = true;
  });
  $("camera-start").onclick = startCamera;
  $("camera-stop").onclick = stopCamera;
  $("camera-record").onclick = record;
  connectTimeline();
}

function connectTimeline() {
  const video = $("video"), lanes = $("lanes");
  for (const name of ["seeked", "loadedmetadata", "pause", "timeupdate"]) video.addEventListener(name, redraw);
  video.addEventListener("play", function step() { redraw(); if (!video.paused) requestAnimationFrame(step); });
  video.addEventListener("error", () => { if (video.getAttribute("src")) $("unplayable").hidden = false; });
  const timeOf = (event) => state.timeAt ? state.timeAt(event.offsetX) : 0;
  lanes.addEventListener("click", (event) => {
    const ids = [...state.people.keys()].sort((a, b) => a - b), id = ids[Math.floor(event.offsetY / 34)];
    if (id !== undefined && id !== state.chosen) choose(id);
    seek(timeOf(event));
  });
  lanes.addEventListener("pointermove", (event) => hover(timeOf(event)));
  lanes.addEventListener("pointerleave", () => hover(null));
  lanes.addEventListener("keydown", (event) => {
    const ids = [...state.people.keys()].sort((a, b) => a - b), at = ids.indexOf(state.chosen);
    const step = event.shiftKey ? 5 : 0.5, time = video.currentTime || 0;
    const actions = { ArrowRight: () => seek(time + step), ArrowLeft: () => seek(time - step),
      Home: () => seek(0), End: () => seek(length()),
      ArrowDown: () => { if (at + 1 < ids.length) choose(ids[at + 1]); },
      ArrowUp: () => { if (at > 0) choose(ids[at - 1]); },
      " ": () => { if (video.paused) video.play(); else video.pause(); } };
    if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
  });
  new ResizeObserver(redraw).observe($("lanes-box"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

connect();
begin();

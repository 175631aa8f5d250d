"use strict";
// What is drawn from rows: boxes on a picture, and one lane per person.

/** Returns a person's box at a time, between those of the windows around it, or null while out of view. */
function boxAt(rows, time) {
  const seen = rows.filter((row) => row.x !== null);
  if (!seen.length) return null;
  const after = seen.findIndex((row) => row.mid_s >= time);
  const next = after < 0 ? seen[seen.length - 1] : seen[after];
  const last = after <= 0 ? next : seen[after - 1];
  const near = [last, next].some((row) => time >= row.start_s - 1e-6 && time <= row.end_s + 1e-6);
  if (!near && !(seen.length === 1 && next.start_s === next.end_s)) return null;
  const span = next.mid_s - last.mid_s;
  const part = span > 0 ? Math.min(1, Math.max(0, (time - last.mid_s) / span)) : 0;
  const mix = (key) => last[key] + (next[key] - last[key]) * part;
  return { x: mix("x"), y: mix("y"), w: mix("w"), h: mix("h") };
}

/** Returns a person's row whose middle is closest to a time, among those that contain it. */
function rowAt(rows, time) {
  if (rows.length === 1 && rows[0].start_s === rows[0].end_s) return rows[0]; // a still
  let best = null;
  for (const row of rows) {
    if (time < row.start_s - 1e-6 || time > row.end_s + 1e-6) continue;
    if (!best || Math.abs(row.mid_s - time) < Math.abs(best.mid_s - time)) best = row;
  }
  return best;
}

/** Draws a box with a tag on a canvas whose size is that of the picture. */
function drawBox(context, box, colour, text) {
  const unit = Math.max(1, context.canvas.width / 400);
  context.lineWidth = 3 * unit;
  context.strokeStyle = "rgba(0,0,0,.6)";
  context.strokeRect(box.x, box.y, box.w, box.h);
  context.lineWidth = 2 * unit;
  context.strokeStyle = colour;
  context.strokeRect(box.x, box.y, box.w, box.h);
  if (!text) return;
  context.font = `600 ${13 * unit}px system-ui, sans-serif`;
  const width = context.measureText(text).width + 10 * unit, height = 19 * unit;
  const left = Math.max(0, Math.min(box.x, context.canvas.width - width));
  const top = box.y >= height ? box.y - height : Math.min(box.y + box.h, context.canvas.height - height);
  context.fillStyle = "rgba(20,20,20,.85)";
  context.fillRect(left, top, width, height);
  context.fillStyle = colour;
  context.fillRect(left, top, 4 * unit, height);
  context.fillStyle = "#fff";
  context.textBaseline = "middle";
  context.fillText(text, left + 7 * unit, top + height / 2);
}

/** Draws lanes, and returns the function from a place in pixels to a time. */
function drawLanes(canvas, people, options) {
  const scale = window.devicePixelRatio || 1, width = canvas.clientWidth;
  const lane = 34, axis = 22, left = 46, right = 10;
  const height = Math.max(1, people.length) * lane + axis;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const end = options.end || 1, room = Math.max(1, width - left - right);
  const place = (time) => Math.round(left + (time / end) * room);
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  people.forEach((person, number) => {
    const top = number * lane + 4, tall = lane - 8;
    context.fillStyle = options.track;
    context.fillRect(left, top, room, tall);
    person.rows.forEach((row, index) => {
      const before = person.rows[index - 1], after = person.rows[index + 1];
      const from = before && before.end_s > row.start_s ? (before.mid_s + row.mid_s) / 2 : row.start_s;
      const to = after && after.start_s < row.end_s ? (row.mid_s + after.mid_s) / 2 : row.end_s;
      context.fillStyle = row.label ? options.colours[row.label] : options.soft;
      context.globalAlpha = row.status === "ok" ? 1 : 0.45;
      context.fillRect(place(from), top, Math.max(1.5, place(to) - place(from)), tall);
    });
    context.globalAlpha = 1;
    if (person.picture) context.drawImage(person.picture, left - tall - 14, top, tall, tall);
    else { context.fillStyle = options.ink; context.fillText(person.name, 4, top + tall / 2); }
    context.fillStyle = person.colour;
    context.fillRect(left - 8, top, 5, tall);
    if (person.chosen) {
      context.strokeStyle = options.ink; context.lineWidth = 2;
      context.strokeRect(left - 1, top - 1, room + 2, tall + 2);
    }
  });
  const step = tickStep(end, room);
  context.fillStyle = options.soft;
  context.textAlign = "center";
  for (let time = 0; time <= end + 1e-9; time += step) {
    context.fillText(clock(time, step), Math.min(place(time), width - 18), height - axis / 2);
  }
  context.fillStyle = options.ink;
  context.fillRect(place(Math.min(options.time, end)) - 1, 0, 2, height - axis + 2);
  return (x) => Math.min(end, Math.max(0, ((x - left) / room) * end));
}

function tickStep(end, room) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
  return steps.find((step) => (step / end) * room >= 55) || 7200;
}

/** Returns a time as text, such as 1:05 or 0.5 s. */
function clock(seconds, step = 1) {
  if (seconds < 60) return `${seconds.toFixed(step < 1 ? 1 : 0)} s`;
  const whole = Math.floor(seconds), hours = Math.floor(whole / 3600);
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

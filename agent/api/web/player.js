// Plays one output of an HLS export: /player?export=<id>&output=<number>#token=<access token>.
// The token stays in the fragment and goes to this server only, as the Authorization header.
"use strict";

const query = new URLSearchParams(location.search);
const exportId = query.get("export") ?? "";
const video = document.getElementById("video");
const statusLine = document.getElementById("status");
const outputs = document.getElementById("outputs");

let token = "";
let hls = null;
let recoveries = 0;
let attempt = 0;

// A browser may stumble over one broken segment; more often than this it will not get over it.
const MAX_RECOVERIES = 3;

function say(state, text) {
  document.body.dataset.state = state;
  statusLine.textContent = text;
}

function fail(text) {
  hls?.destroy();
  hls = null;
  say("error", text);
}

function showFacts(facts) {
  const list = document.getElementById("facts");
  list.replaceChildren();
  for (const [name, value] of facts) {
    const term = document.createElement("dt");
    const detail = document.createElement("dd");
    term.textContent = name;
    detail.textContent = value;
    list.append(term, detail);
  }
}

function formatDuration(seconds) {
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60) % 60;
  const parts = [Math.floor(whole / 3600), minutes, whole % 60].map((part) => String(part).padStart(2, "0"));
  return parts.join(":");
}

function describeTrack(track) {
  const size = track.width ? `, ${track.width}×${track.height}` : "";
  return `${track.kind} ${track.codec}${size}, ${track.handling}, ${track.samples} samples`;
}

function describeLevel(level) {
  const size = level.height ? `${level.width}×${level.height}` : "audio only";
  return `${size}, ${Math.round(level.bitrate / 1000)} kb/s${level.codecSet ? `, ${level.codecSet}` : ""}`;
}

function factsOf(item, output) {
  const facts = [
    ["Export", item.export_id],
    ["Recording", item.recording_id],
    ["Participant", `${output.participant_identity} (${output.source})`],
    ["Length", formatDuration(output.duration_s)],
  ];
  output.tracks.forEach((track, index) => facts.push([`Track ${index + 1}`, describeTrack(track)]));
  (hls?.levels ?? []).forEach((level, index) => facts.push([`Level ${index + 1}`, describeLevel(level)]));
  return facts;
}

async function fetchExport() {
  const answer = await fetch(`/v1/exports/${encodeURIComponent(exportId)}`, {
    headers: { Authorization: `Bearer ${token}` },
    cache: "no-store",
  });
  const body = await answer.json();
  if (!answer.ok) {
    throw new Error(body.error?.message ?? `the server answered ${answer.status}`);
  }
  return body;
}

function onHlsError(_event, data) {
  if (!data.fatal) {
    return;
  }
  const status = data.response?.code;
  if (data.type === Hls.ErrorTypes.MEDIA_ERROR && recoveries < MAX_RECOVERIES) {
    recoveries += 1;
    hls.recoverMediaError();
    return;
  }
  if (status === 401 || status === 403) {
    fail("The access token has expired or lacks the roomRecord grant. Open the page with a new one.");
  } else {
    fail(`Cannot play: ${data.details}${status ? ` (HTTP ${status})` : ""}${data.reason ? `, ${data.reason}` : ""}`);
  }
}

function play(item, output) {
  hls?.destroy();
  recoveries = 0;
  say("loading", "Loading…");
  hls = new Hls({
    xhrSetup: (request) => request.setRequestHeader("Authorization", `Bearer ${token}`),
  });
  hls.on(Hls.Events.ERROR, onHlsError);
  hls.on(Hls.Events.MANIFEST_PARSED, () => {
    showFacts(factsOf(item, output));
    say("ready", "Ready to play.");
    // Browsers may refuse to begin with sound; the controls are there for that.
    video.play().catch(() => say("ready", "Ready: press play."));
  });
  hls.loadSource(output.entry_url);
  hls.attachMedia(video);
}

function offerOutputs(item, chosen) {
  outputs.replaceChildren();
  item.outputs.forEach((output, index) => {
    const option = document.createElement("option");
    option.value = String(index);
    option.textContent = `${output.participant_identity} (${output.source})`;
    option.selected = index === chosen;
    outputs.append(option);
  });
  outputs.onchange = () => play(item, item.outputs[Number(outputs.value)]);
  document.getElementById("outputs-label").hidden = item.outputs.length < 2;
}

function problemWith(item) {
  if (item.state === "failed") {
    return `This export failed: ${item.error?.message ?? "unknown"}`;
  }
  if (item.state !== "complete") {
    return `This export is ${item.state} (${Math.round(item.progress * 100)}%). Reload the page when it is complete.`;
  }
  if (item.format !== "hls") {
    return `This export is ${item.format.toUpperCase()}, which needs no player. Download its files.`;
  }
  return item.outputs.length === 0 ? "This export has no outputs." : "";
}

async function start() {
  attempt += 1;
  const mine = attempt;
  token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  say("loading", "Loading…");
  if (!exportId || !token) {
    fail("Open this page as /player?export=<export id>#token=<access token with roomRecord>.");
    return;
  }
  if (!Hls.isSupported()) {
    fail("This browser has no Media Source Extensions, which the player needs. Try another one.");
    return;
  }
  document.getElementById("subject").textContent = exportId;
  try {
    const item = await fetchExport();
    if (mine !== attempt) {
      return;
    }
    const problem = problemWith(item);
    if (problem) {
      fail(problem);
      return;
    }
    const chosen = Math.min(Math.max(Number.parseInt(query.get("output") ?? "0", 10) || 0, 0), item.outputs.length - 1);
    offerOutputs(item, chosen);
    play(item, item.outputs[chosen]);
  } catch (error) {
    fail(`Cannot load the export: ${error.message}`);
  }
}

video.addEventListener("playing", () => say("playing", "Playing."));
video.addEventListener("waiting", () => hls && say("loading", "Waiting for data…"));
video.addEventListener("pause", () => hls && !video.ended && say("paused", "Paused."));
video.addEventListener("ended", () => say("ended", "The end."));
window.addEventListener("hashchange", start);
start();

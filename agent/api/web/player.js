// Plays one output of an export: /player?export=<id>&output=<number>#token=<access token>.
// The token stays in the fragment and goes to this server only: as the Authorization header, or, where the browser
// itself fetches an MP4 and sends no headers, as `access_token`.
"use strict";

const exportId = query.get("export") ?? "";
const video = document.getElementById("video");
const outputs = document.getElementById("outputs");
const progress = document.getElementById("progress");

let token = "";
let hls = null;
let trouble = null;
let recoveries = 0;
let stumbledAt = -Infinity;
let note = "";
let noticed = "";
let attempt = 0;

// A browser may stumble over one broken segment; more often than this it will not get over it.
const MAX_RECOVERIES = 3;

// Having played for so long since, it got over its last stumble.
const STEADY_MS = 60000;

// Longer than the service ever takes to say what there is.
const ANSWER_MS = 10000;

// How often to ask for an export that is still being made.
const POLL_MS = 2000;

const STATES = {
  loading: "Loading…",
  waiting: "Not ready yet",
  idle: "Waiting",
  ready: "Press play",
  playing: "Playing",
  buffering: "Buffering…",
  paused: "Paused",
  ended: "The end",
  error: "Cannot play",
};

const TITLES = {
  recording_not_found: "There is no such recording",
  unauthorized: "The access token is not valid",
  token_expired: "The access token has expired",
  permission_denied: "The access token does not allow this",
  export_not_found: "There is no such export",
};

/** `passing`: it may be otherwise when it is asked again. */
class PlayerError extends Error {
  constructor(title, text, code = "", passing = false) {
    super(text);
    this.title = title;
    this.code = code;
    this.passing = passing;
  }
}

const NAMES = { audio: "Audio", video: "Video", opus: "Opus", h264: "H.264" };

function element(id) {
  return document.getElementById(id);
}

function say(state) {
  document.body.dataset.state = state;
  showStatus();
}

/** Say something beside the state. */
function remark(text) {
  note = text;
  showStatus();
}

function showStatus() {
  const text = [STATES[document.body.dataset.state], note].filter(Boolean).join(" · ");
  if (element("status").textContent !== text) {
    element("status").textContent = text;
  }
}

/** Messages of the API begin in lower case, as they follow a colon elsewhere. */
function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return whole === "" || /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}

/**
 * Cover the picture with a title and a text, in which `code` is set between backticks, and a button if it has a label.
 * What is said already stays as it is: it is not read out again, and the button keeps its focus.
 */
function notice(state, title, text, label = "", action = null) {
  const button = element("notice-action");
  button.onclick = action;
  const said = JSON.stringify([state, title, text, label]);
  if (isIn(state) && said === noticed) {
    return;
  }
  noticed = said;
  say(state);
  element("notice-title").textContent = title;
  const parts = sentence(text).split("`").map((part, index) => {
    if (index % 2 === 0) {
      return part;
    }
    const code = document.createElement("code");
    code.textContent = part;
    return code;
  });
  element("notice-text").replaceChildren(...parts);
  button.textContent = label;
  button.hidden = label === "";
  progress.hidden = state !== "waiting";
}

function stop() {
  hls?.destroy();
  hls = null;
  trouble = null;
  video.removeAttribute("src");
  video.load();
}

function fail(error) {
  stop();
  notice("error", error.title ?? `This ${recordingId ? "recording" : "export"} cannot be played`, error.message);
}

function formatDuration(seconds) {
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 60) % 60, whole % 60];
  if (whole >= 3600) {
    parts.unshift(Math.floor(whole / 3600));
  }
  return parts.map((part, index) => (index ? String(part).padStart(2, "0") : String(part))).join(":");
}

function formatBytes(bytes) {
  const exponent = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), 4);
  return `${(bytes / 1000 ** exponent).toFixed(exponent ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][exponent]}`;
}

function nameOf(output) {
  return `${output.participant_identity}, ${output.source.replace("_", " ")}`;
}

function handlingOf(track) {
  const notes = [track.handling === "copied" ? "copied as recorded" : `transcoded (${track.reason})`];
  if (track.silence_packets) {
    notes.push(`${track.silence_packets} packets of silence where nothing came`);
  }
  if (track.skipped_packets) {
    notes.push(`${track.skipped_packets} packets left out to keep time`);
  }
  if (track.concealed_frames) {
    notes.push(`${track.concealed_frames} frames concealed`);
  }
  return notes.join("; ");
}

function showTracks(tracks) {
  const rows = tracks.map((track) => {
    const row = document.createElement("tr");
    const size = track.width ? `${track.width}×${track.height}` : "–";
    const kind = NAMES[track.kind] ?? track.kind;
    const codec = NAMES[track.codec] ?? track.codec;
    for (const text of [kind, codec, size, track.samples.toLocaleString("en"), handlingOf(track)]) {
      row.insertCell().textContent = text;
    }
    return row;
  });
  element("tracks").replaceChildren(...rows);
}

function fact(name, content) {
  const pair = document.createElement("div");
  const term = document.createElement("dt");
  const detail = document.createElement("dd");
  term.textContent = name;
  detail.append(content);
  pair.append(term, detail);
  return pair;
}

function downloadLink(output) {
  const link = document.createElement("a");
  link.href = withToken(output.entry_url);
  link.download = "";
  link.textContent = decodeURIComponent(output.entry_url.split("/").pop());
  return link;
}

function showDetails(item, output) {
  const bytes = output.files.reduce((sum, file) => sum + file.size_bytes, 0);
  const passed = output.checks.filter((check) => check.ok).length;
  const files = output.files.length === 1 ? "1 file" : `${output.files.length} files`;
  const facts = [
    fact("Format", `${item.format.toUpperCase()}, ${files}, ${formatBytes(bytes)}`),
    fact("Compared with the recording", `${passed} of ${output.checks.length} checks passed`),
    fact("Exported", new Date(item.updated_at * 1000).toLocaleString()),
    fact("Export", item.export_id),
    fact("Picture now", "–"),
  ];
  facts.at(-1).lastChild.id = "picture";
  if (item.format === "mp4") {
    facts.push(fact("Download", downloadLink(output)));
  }
  element("facts").replaceChildren(...facts);
  showTracks(output.tracks);
  element("details").hidden = false;
  element("title").textContent = nameOf(output);
  element("subtitle").textContent = `Recording ${item.recording_id} · ${formatDuration(output.duration_s)}`;
  document.title = `${nameOf(output)} – Roomhand player`;
}

function withToken(url) {
  return `${url}?access_token=${encodeURIComponent(token)}`;
}

async function fetchJson(path) {
  const headers = { Authorization: `Bearer ${token}` };
  const signal = AbortSignal.timeout(ANSWER_MS);
  const silent = () => {
    throw new PlayerError("The service does not answer", "It plays here as soon as it does.", "", true);
  };
  const answer = await fetch(path, { headers, signal, cache: "no-store" }).catch(silent);
  if (!answer.ok) {
    throw await refusalOf(answer);
  }
  return answer.json().catch(silent);
}

/** Why the service refused. */
async function refusalOf(answer) {
  const { code, message } = (await answer.json().catch(() => ({}))).error ?? {};
  const passing = answer.status >= 500 || [408, 409, 429].includes(answer.status);
  return new PlayerError(TITLES[code], message ?? `The service answered with HTTP status ${answer.status}.`, code, passing);
}

/** Have hls.js begin anew after a decoder's error. False when that was done too often. */
function recovered() {
  const now = performance.now();
  recoveries = now - stumbledAt > STEADY_MS ? 1 : recoveries + 1;
  stumbledAt = now;
  if (recoveries > MAX_RECOVERIES) {
    return false;
  }
  hls.recoverMediaError();
  return true;
}

/** What the service says of `url`, of which the browser or hls.js only knows that it did not come. Null: nothing. */
async function refusalAt(url, headers) {
  const options = { headers: { Range: "bytes=0-0", ...headers }, signal: AbortSignal.timeout(ANSWER_MS), cache: "no-store" };
  try {
    const answer = await fetch(url, options);
    return answer.ok ? null : await refusalOf(answer);
  } catch {
    return new PlayerError("The service does not answer", "Check that it runs, then reload this page.");
  }
}

function playbackError(data) {
  const status = data.response?.code;
  const reasons = [data.details, status && `HTTP status ${status}`, data.reason || data.error?.message];
  return new PlayerError("Playback failed", reasons.filter(Boolean).join(", "));
}

/** Why hls.js could not load something: of a token that is refused the service knows more. */
async function reasonOf(data) {
  const status = data.response?.code;
  const refusal = status === 401 || status === 403 ? await refusalAt(data.response.url, { Authorization: `Bearer ${token}` }) : null;
  return refusal ?? playbackError(data);
}

/** Whether there is something to play at the current position. */
function hasMore() {
  const ranges = Array.from({ length: video.buffered.length }, (_, index) => index);
  const now = video.currentTime;
  return ranges.some((index) => video.buffered.start(index) <= now + 0.1 && video.buffered.end(index) > now + 0.1);
}

/** What is there is played, whatever else is missing; then the player says why it cannot go on. */
function failIfStuck() {
  if (trouble && !hasMore()) {
    fail(trouble);
  }
}

async function onHlsError(_event, data) {
  const mine = hls;
  const status = data.response?.code;
  const refused = status >= 400 && status < 500;
  if (data.fatal && data.type === Hls.ErrorTypes.MEDIA_ERROR && recovered()) {
    return;
  }
  if (data.fatal || refused) {
    // hls.js asks for a segment again for most of a minute, but a refusal lasts: the second one counts.
    const again = trouble !== null;
    trouble ??= playbackError(data);
    const reason = await reasonOf(data);
    if (hls !== mine) {
      return;
    }
    trouble = reason;
    if (data.fatal || again) {
      failIfStuck();
    }
  }
}

function onWaiting() {
  if (isIn("playing", "paused", "ended")) {
    say("buffering");
  }
  failIfStuck();
}

function offerToPlay() {
  say("ready");
  // Browsers may refuse to begin with sound; the controls are there for that.
  video.play().catch(() => {});
}

function playHls(output) {
  if (!Hls.isSupported()) {
    const text = "It has no Media Source Extensions, which the player needs. Try another one.";
    fail(new PlayerError("This browser cannot play HLS", text));
    return;
  }
  hls = new Hls({
    xhrSetup: (request) => request.setRequestHeader("Authorization", `Bearer ${token}`),
  });
  hls.on(Hls.Events.ERROR, onHlsError);
  hls.on(Hls.Events.MANIFEST_PARSED, offerToPlay);
  hls.loadSource(output.entry_url);
  hls.attachMedia(video);
}

function play(item, output) {
  stop();
  recoveries = 0;
  notice("loading", "Loading…", "");
  showDetails(item, output);
  if (item.format === "hls") {
    playHls(output);
  } else {
    video.src = withToken(output.entry_url);
    offerToPlay();
  }
}

function offerOutputs(item, chosen) {
  const options = item.outputs.map((output, index) => new Option(nameOf(output), index, false, index === chosen));
  outputs.replaceChildren(...options);
  outputs.onchange = () => play(item, item.outputs[Number(outputs.value)]);
  element("outputs-label").hidden = item.outputs.length < 2;
}

/** Show an export that is not complete. True when it may become so. */
function showUnfinished(item) {
  element("title").textContent = `Export of ${item.recording_id}`;
  element("subtitle").textContent = item.export_id;
  if (item.state === "failed") {
    throw new PlayerError("This export failed", item.error?.message ?? "The worker's log says more.");
  }
  if (item.state === "aborted") {
    throw new PlayerError("This export was cancelled", "Ask for a new one: `POST /v1/exports`.");
  }
  const waits = item.state === "queued" || item.step === "await_recording";
  const text = item.step === "await_recording" ? "It begins when the recording has ended." : "It plays here when it is ready.";
  notice("waiting", waits ? "This export waits" : "This export is being made", text);
  progress.value = item.progress;
}

async function load(mine, unanswered = 0) {
  try {
    const item = await fetchJson(`/v1/exports/${encodeURIComponent(exportId)}`);
    if (mine === attempt) {
      show(item, mine);
    }
  } catch (error) {
    if (mine === attempt) {
      loadAgain(error, mine, unanswered + 1);
    }
  }
}

/** One answer that is lost says nothing; while there is none, the page says so and goes on asking. */
function loadAgain(error, mine, unanswered) {
  if (!error.passing) {
    fail(error);
    return;
  }
  if (unanswered > 1) {
    notice("idle", `${error.title ?? "The service has trouble"}, trying again`, error.message);
  }
  setTimeout(() => mine === attempt && load(mine, unanswered), POLL_MS);
}

function show(item, mine) {
  if (item.state !== "complete") {
    showUnfinished(item);
    setTimeout(() => mine === attempt && load(mine), POLL_MS);
    return;
  }
  if (item.outputs.length === 0) {
    throw new PlayerError("This export is empty", "Nobody had anything to export.");
  }
  const wanted = Number.parseInt(query.get("output") ?? "0", 10) || 0;
  const chosen = Math.min(Math.max(wanted, 0), item.outputs.length - 1);
  offerOutputs(item, chosen);
  play(item, item.outputs[chosen]);
}

function start() {
  attempt += 1;
  stop();
  token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  element("title").textContent = "Export";
  element("subtitle").textContent = exportId;
  element("details").hidden = true;
  notice("loading", "Loading…", "");
  if (token && recordingId) {
    startLive(attempt);
    return;
  }
  if (token && exportId) {
    load(attempt);
    return;
  }
  const address = recordingId ? "recording=RECORDING_ID" : "export=EXPORT_ID";
  const text = `Open this page as \`/player?${address}#token=TOKEN\` with an access token from \`roomhand token --grant roomRecord\`.`;
  fail(new PlayerError(exportId || recordingId ? "An access token is missing" : "Which export?", text));
}

/** The browser calls whatever it gets a broken file, also the service's refusal of it. */
async function onVideoError() {
  if (isIn("error") || (hls !== null && recovered())) {
    return;
  }
  const url = video.src;
  const error = new PlayerError("Playback failed", video.error?.message || "The browser cannot read the file");
  const refusal = hls === null && url ? await refusalAt(url, {}) : null;
  if (video.src === url) {
    fail(refusal ?? error);
  }
}

function showPicture() {
  const picture = element("picture");
  if (picture && video.videoWidth) {
    picture.textContent = `${video.videoWidth}×${video.videoHeight}`;
  }
}

function isIn(...states) {
  return states.includes(document.body.dataset.state);
}

video.addEventListener("playing", () => say("playing"));
video.addEventListener("waiting", onWaiting);
video.addEventListener("canplay", () => isIn("buffering") && say(video.paused ? "paused" : "playing"));
video.addEventListener("pause", () => isIn("playing", "buffering") && !video.ended && say("paused"));
video.addEventListener("ended", () => (trouble ? fail(trouble) : say("ended")));
video.addEventListener("resize", showPicture);
video.addEventListener("error", onVideoError);
window.addEventListener("hashchange", start);
start();

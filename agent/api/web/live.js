// Plays a recording while it goes on: /player?recording=<id>&participant=<identity>&source=camera#token=<access token>.
// What is said and shown is player.js's business; this file follows the recording and says what of it is to be played,
// live_edge.js plays it and keeps hls.js at its end.
"use strict";

const query = new URLSearchParams(location.search);
const recordingId = query.get("recording") ?? "";

// How often to ask what can be played: somebody may come, mute, share a screen, or the recording may end.
const LIVE_POLL_MS = 2000;

// One that is over hardly goes on; it is asked for less and less often.
const LIVE_OVER_POLL_MS = 60000;

// One poll may be lost; so many in a row are an outage.
const LIVE_LOST_POLLS = 2;

// Longer than a slow screen share needs for its next part: when no more comes for so long, nothing comes.
const LIVE_STILL_MS = 6000;

// Media that look so old may be so, or the clocks differ: whether more comes, the next poll tells.
const LIVE_OLD_S = 30;

const LIVE_STANDSTILLS = {
  recording: ["Nothing comes", "It plays here again as soon as something does."],
  paused: ["Recording paused", "It plays here again as soon as the recording goes on."],
  storage_error: ["The disk refuses the recording", "What is said now is lost. It plays here again as soon as the disk takes it."],
  interrupted: ["Recording interrupted", "It plays here again as soon as the recording goes on."],
};

// What the viewer wants to see, by the address, or later by the list. Nothing else moves it.
let wish = { participant: query.get("participant"), source: query.get("source") };

// What the service said last, and how many polls since got no answer.
let live = null;
let unanswered = 0;
let pollMs = LIVE_POLL_MS;

// The program that is shown, whose sound alone was asked for, and which cannot be played.
let shown = "";
let soundOnly = "";
let broken = null;

// Whether the program shown was played already: if it was, it is not played from the start when the recording stops.
let began = false;

// How far the program shown has come, and when it last moved on; null while that is not known.
let pace = { key: "", endsAt: null, movedAt: null };

function startLive(mine) {
  live = null;
  unanswered = 0;
  pollMs = LIVE_POLL_MS;
  shown = "";
  forget();
  watchEdge();
  element("title").textContent = "Live recording";
  element("subtitle").textContent = recordingId;
  document.querySelector("#details table").hidden = true;
  showLiveness();
  loadLive(mine);
}

/** Nothing is attached, and whatever is chosen next is played for the first time. */
function forget() {
  detach();
  soundOnly = "";
  broken = null;
  began = false;
}

async function loadLive(mine) {
  let item = null;
  let refusal = null;
  try {
    item = await fetchJson(`/v1/recordings/${encodeURIComponent(recordingId)}/live`);
  } catch (error) {
    refusal = error;
  }
  if (mine !== attempt) {
    return;
  }
  try {
    if (item) {
      onAnswer(item);
    } else if (refusal.passing) {
      onNoAnswer(refusal);
    } else {
      throw refusal;
    }
  } catch (error) {
    giveUp(error);
    return;
  }
  setTimeout(() => mine === attempt && loadLive(mine), pollMs);
}

/** What will not change by asking again ends the page. */
function giveUp(error) {
  live = null;
  detach();
  element("outputs-label").hidden = true;
  fail(error);
  showLiveness();
}

function onAnswer(item) {
  unanswered = 0;
  live = item;
  pollMs = item.state === "complete" ? Math.min(2 * pollMs, LIVE_OVER_POLL_MS) : LIVE_POLL_MS;
  followLive();
}

/** What plays goes on playing while the service is started again. */
function onNoAnswer(error) {
  unanswered += 1;
  if (error.code === "live_not_ready" && live === null) {
    idle("The recording begins", "It plays here as soon as somebody publishes.");
  } else if (unanswered >= LIVE_LOST_POLLS && !isIn("playing", "paused", "ended")) {
    idle(`${error.title ?? "The service has trouble"}, trying again`, error.message);
  }
  showLiveness();
}

/** Play what the service says goes on now, if it is not that which plays already, or say why there is nothing. */
function followLive() {
  if (isIn("ended") && live.state === "recording") {
    detach(); // it goes on after all
  }
  const program = chooseLive();
  showPrograms(program);
  element("title").textContent = program ? nameOf(program) : `Room ${live.room}`;
  element("subtitle").textContent = `Recording ${live.recording_id}`;
  document.title = `${element("title").textContent} – Roomhand player`;
  showLiveFacts(live);
  if (program) {
    notePace(program);
  }
  (program ? followProgram : waitForSomebody)(program);
  showLiveness();
}

/** The program to play: what the viewer wants, of that what is shown while it goes on, else the first. */
function chooseLive() {
  const fits = live.programs.filter(
    (program) =>
      program.participant_identity === (wish.participant ?? program.participant_identity) &&
      program.source === (wish.source ?? program.source),
  );
  const current = fits.find((program) => keyOf(program) === shown);
  if (current && (live.state === "complete" || !isGone(current))) {
    return current;
  }
  const program = fits.find((item) => !item.ended) ?? current ?? fits[0] ?? null;
  if (program && keyOf(program) !== shown) {
    forget();
    shown = keyOf(program);
  }
  return program;
}

function keyOf(program) {
  return `${program.participant_identity} ${program.source}`;
}

/** Whether there is nothing more to see of the program that is shown. */
function isGone(program) {
  return (program.ended || isStill()) && !(attached && isIn("playing", "paused", "ready", "buffering") && !isStuck());
}

function notePace(program) {
  const before = pace.key === shown ? pace : { key: shown, endsAt: null, movedAt: null };
  let movedAt = before.movedAt;
  if (before.endsAt === null) {
    const age = Date.now() / 1000 - live.started_at - program.ends_at_s;
    movedAt = age > LIVE_OLD_S ? null : Date.now();
  } else if (before.endsAt !== program.ends_at_s) {
    movedAt = Date.now();
  } else {
    movedAt ??= -Infinity;
  }
  pace = { key: shown, endsAt: program.ends_at_s, movedAt };
}

function isStill() {
  return pace.key === shown && pace.movedAt !== null && Date.now() - pace.movedAt > LIVE_STILL_MS;
}

function waitForSomebody() {
  detach();
  const over = live.state === "complete";
  const advice = live.programs.length ? "Choose somebody else above, or wait." : "It plays here as soon as somebody publishes.";
  if (over && live.programs.length === 0) {
    throw new PlayerError("There is nothing to play", "The recording has ended, and nobody published anything.");
  }
  if (wish.participant === null && wish.source === null) {
    const [title, text] = live.state === "recording" ? ["The recording goes on", advice] : LIVE_STANDSTILLS[live.state];
    idle(title, text);
  } else {
    const who = wish.participant ?? wish.source.replace("_", " ");
    idle(over ? `Nothing of ${who} was recorded` : `Waiting for ${who}`, over ? "Choose somebody else above." : advice);
  }
}

function followProgram(program) {
  const over = live.state === "complete";
  const who = program.participant_identity;
  const sound = soundOnly === shown;
  const playable = program.audio_track !== null || (program.video_track !== null && !sound);
  if (program.problem && !sound) {
    detach();
    const listen = () => {
      soundOnly = shown;
      followLive();
    };
    idle(`The picture of ${who} cannot be played live`, program.problem, program.audio_track === null ? "" : "Listen to the sound", listen);
  } else if (!playable) {
    detach();
    idle(over ? `There is nothing to play of ${who}` : "The recording goes on", over ? "" : "It plays here as soon as somebody publishes.");
  } else if (over || (live.state === "interrupted" && (!began || attached?.fromStart))) {
    playWhole(program, sound);
  } else if (attached?.fromStart && !isIn("ended")) {
    return; // the viewer goes live when it pleases
  } else if (program.ended || isStill()) {
    waitForMore(program);
  } else if (pace.movedAt !== null) {
    playNow(program, sound);
  }
}

function addressOf(program, sound) {
  return sound ? `${program.url}&audio_only=true` : program.url;
}

/** What is over, or ended for now, plays from its start; but not by itself to who saw it live. */
function playWhole(program, sound) {
  if (attached !== null || isIn("ended", "error")) {
    return;
  }
  if (began) {
    idle("The recording has ended", "", "Play from the start", () => {
      began = false;
      followLive();
    });
    return;
  }
  attach(`${addressOf(program, sound)}&from_start=true`, "whole", true);
}

function playNow(program, sound) {
  const wanted = [addressOf(program, sound), program.video_track, program.audio_track].join(" ");
  if (broken !== wanted && attached?.wanted !== wanted) {
    broken = null;
    attach(addressOf(program, sound), wanted, false);
  }
}

/** Nothing more comes (for now). What was loaded is played to its end, and not again. */
function waitForMore(program) {
  if (!isGone(program)) {
    return;
  }
  detach();
  if (program.ended) {
    idle(`${program.participant_identity} has left`, "It plays here as soon as somebody comes back.");
  } else {
    idle(...LIVE_STANDSTILLS[live.state]);
  }
}

/** Cover the picture: there is none. `action` is what the button with `label` does. */
function idle(title, text, label = "", action = null) {
  detach();
  notice("idle", title, text, label, action);
}

function optionsOf(programs) {
  const left = (program) => (program.ended && live.state !== "complete" ? " (left)" : "");
  return programs.map((program) => [keyOf(program), nameOf(program) + left(program)]);
}

/** The list is made anew only when it changes: somebody may have it open. */
function showPrograms(program) {
  const wanted = optionsOf(live.programs);
  const known = Array.from(outputs.options, (option) => [option.value, option.text]);
  if (JSON.stringify(wanted) !== JSON.stringify(known)) {
    outputs.replaceChildren(...wanted.map(([key, name]) => new Option(name, key)));
  }
  const key = program ? keyOf(program) : "";
  if (outputs.value !== key) {
    outputs.value = key;
  }
  outputs.onchange = onChosen;
  element("outputs-label").hidden = live.programs.length < (program ? 2 : 1);
}

function onChosen() {
  const program = live?.programs.find((item) => keyOf(item) === outputs.value);
  if (program) {
    wish = { participant: program.participant_identity, source: program.source };
    shown = keyOf(program);
    forget();
    notice("loading", "Loading…", "");
    followLive();
  }
}

function showLiveFacts(item) {
  if (element("behind") === null) {
    const facts = [fact("Behind the newest part", "–"), fact("Picture now", "–"), fact("Room", item.room)];
    facts[0].lastChild.id = "behind";
    facts[1].lastChild.id = "picture";
    facts.push(fact("Recording since", new Date(item.started_at * 1000).toLocaleString()));
    element("facts").replaceChildren(...facts);
    showPicture();
  }
  element("details").hidden = false;
}

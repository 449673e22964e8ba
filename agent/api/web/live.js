// Plays a recording while it goes on: /player?recording=<id>&participant=<identity>&source=camera#token=<access token>.
// What is said and shown is player.js's business; this file follows the recording and keeps hls.js at its end.
"use strict";

const query = new URLSearchParams(location.search);
const recordingId = query.get("recording") ?? "";

// How often to ask what can be played: somebody may come, mute, share a screen, or the recording may end.
const LIVE_POLL_MS = 2000;

// How often to begin anew after a network error, which may be no more than a restart of the service.
const LIVE_RETRY_MS = 1000;

// Further behind than this, nobody calls it live: jump to the end.
const LIVE_FARTHEST_S = 6;

// What player and server hold back each, hls.js has to wait out; a room that is started again takes some seconds.
const LIVE_PATIENCE = {
  default: {
    maxTimeToFirstByteMs: 30000,
    maxLoadTimeMs: 60000,
    timeoutRetry: { maxNumRetry: 30, retryDelayMs: 0, maxRetryDelayMs: 0 },
    errorRetry: { maxNumRetry: 30, retryDelayMs: 500, maxRetryDelayMs: 2000 },
  },
};

// Standing still for so long though the recording goes on, the player begins anew at its end.
const LIVE_STALL_MS = 8000;

const LASTING = new Set(["unauthorized", "token_expired", "permission_denied", "recording_not_found", "invalid_settings"]);

// What hls.js plays now: the program's address and tracks.
let attached = "";
let began = false;
let stillSince = 0;

function startLive(mine) {
  attached = "";
  began = false;
  element("title").textContent = "Live recording";
  element("subtitle").textContent = recordingId;
  document.querySelector("#details table").hidden = true;
  setLive("off");
  loadLive(mine);
}

function setLive(state) {
  document.body.dataset.live = state;
}

async function loadLive(mine) {
  let item = null;
  try {
    item = await fetchJson(`/v1/recordings/${encodeURIComponent(recordingId)}/live`);
  } catch (error) {
    // What plays goes on playing while the service is started again.
    if (mine === attempt && (!began || LASTING.has(error.code))) {
      fail(error);
    }
  }
  if (mine !== attempt || isIn("error")) {
    return;
  }
  if (isIn("ended") && item?.state === "recording") {
    attached = ""; // it goes on after all
  }
  try {
    if (item) {
      followLive(item, mine);
    }
  } catch (error) {
    fail(error);
    return;
  }
  setTimeout(() => mine === attempt && loadLive(mine), LIVE_POLL_MS);
}

/** Play what `item` says goes on now, if it is not that which plays already. */
function followLive(item, mine) {
  const over = item.state === "complete";
  const program = chooseLive(item);
  element("title").textContent = program ? nameOf(program) : `Room ${item.room}`;
  element("subtitle").textContent = `Recording ${item.recording_id}`;
  document.title = `${element("title").textContent} – Roomhand player`;
  if (program?.problem) {
    throw new PlayerError("This recording cannot be played live", program.problem);
  }
  if (!program || (program.video_track === null && program.audio_track === null)) {
    if (over) {
      throw new PlayerError("There is nothing to play", "The recording has ended, and nobody published anything.");
    }
    notice("waiting", "The recording goes on", "It plays here as soon as somebody publishes.");
    progress.hidden = true;
    return;
  }
  const wanted = [program.url, program.video_track, program.audio_track].join(" ");
  if (wanted !== attached && (!over || (attached === "" && !isIn("ended")))) {
    attached = wanted;
    began = true;
    playLive(over ? `${program.url}&from_start=true` : program.url, mine);
  }
  setLive(over ? "over" : item.state === "interrupted" ? "interrupted" : "on");
  showLiveFacts(item);
}

/** The program to play: the one chosen on the page, else the one in the address, else the first. */
function chooseLive(item) {
  const keys = item.programs.map((program) => `${program.participant_identity} ${program.source}`);
  const asked = item.programs.findIndex(
    (program) =>
      program.participant_identity === (query.get("participant") ?? program.participant_identity) &&
      program.source === (query.get("source") ?? program.source),
  );
  const chosen = keys.includes(outputs.value) ? keys.indexOf(outputs.value) : asked;
  const options = item.programs.map((program, index) => new Option(nameOf(program), keys[index], false, index === chosen));
  outputs.replaceChildren(...options);
  outputs.onchange = () => followLive(item, attempt);
  element("outputs-label").hidden = item.programs.length < 2;
  return item.programs[chosen] ?? null;
}

function playLive(url, mine) {
  stop();
  recoveries = 0;
  stillSince = 0;
  notice("loading", "Loading…", "");
  if (!Hls.isSupported()) {
    const text = "It has no Media Source Extensions, which the player needs. Try another one.";
    fail(new PlayerError("This browser cannot play HLS", text));
    return;
  }
  hls = new Hls({
    backBufferLength: 30,
    maxLiveSyncPlaybackRate: 1.1,
    manifestLoadPolicy: LIVE_PATIENCE,
    playlistLoadPolicy: LIVE_PATIENCE,
    xhrSetup: (request) => request.setRequestHeader("Authorization", `Bearer ${token}`),
  });
  const mineHls = hls;
  hls.on(Hls.Events.ERROR, (_event, data) => hls === mineHls && onLiveError(data, mine));
  hls.on(Hls.Events.MANIFEST_PARSED, offerToPlay);
  hls.loadSource(url);
  hls.attachMedia(video);
}

function onLiveError(data, mine) {
  const status = data.response?.code;
  if (status === 401 || status === 403) {
    fail(playbackError(data));
    return;
  }
  if (!data.fatal || (data.type === Hls.ErrorTypes.MEDIA_ERROR && recovered())) {
    return;
  }
  if (data.type !== Hls.ErrorTypes.NETWORK_ERROR) {
    fail(playbackError(data));
    return;
  }
  // What can be played may be another by now: ask, and begin anew.
  say("buffering");
  setTimeout(() => {
    if (mine === attempt && !isIn("error")) {
      attached = "";
      stop();
      notice("loading", "Loading…", "");
    }
  }, LIVE_RETRY_MS);
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

/** Say how far behind the picture is, and jump to the end where that is too far to catch up with. */
function keepLive() {
  const behind = element("behind");
  if (behind === null || hls === null || document.body.dataset.live !== "on" || !isIn("playing", "buffering")) {
    return;
  }
  stillSince = isIn("buffering") ? stillSince || Date.now() : 0;
  if (stillSince && Date.now() - stillSince > LIVE_STALL_MS) {
    stillSince = 0;
    attached = "";
  }
  behind.textContent = `${hls.latency.toFixed(1)} s`;
  if (hls.latency > LIVE_FARTHEST_S && hls.liveSyncPosition) {
    video.currentTime = hls.liveSyncPosition;
  }
}

if (recordingId) {
  setInterval(keepLive, 500);
}

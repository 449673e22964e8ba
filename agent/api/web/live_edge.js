// Keeps hls.js at the end of what goes on, unless the viewer goes back, and says whether the picture is live.
"use strict";

// How often to begin anew after a network error, which may be no more than a restart of the service.
const LIVE_RETRY_MS = 1000;

// Further behind than this, nobody calls it live: jump to the end.
const LIVE_FARTHEST_S = 6;

// hls.js plays so much faster to catch up.
const LIVE_CATCH_UP_RATE = 1.1;

// A step back of less is hls.js's own.
const LIVE_BACK_S = 0.5;

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

const LIVE_TICK_MS = 500;

const LIVE_REMARKS = {
  outage: "the service does not answer, trying again",
  paused: "recording paused",
  storage_error: "the disk refuses the recording",
  interrupted: "interrupted",
  left: "has left",
  still: "nothing comes",
};

// What hls.js plays: the tracks wanted, and whether from the start on. Null: nothing.
let attached = null;

// The viewer went back, or paused: what it sees is left to it.
let away = false;
let position = 0;
let standsSince = 0;
let ticking = false;

function watchEdge() {
  if (ticking) {
    return;
  }
  ticking = true;
  setInterval(keepLive, LIVE_TICK_MS);
  video.addEventListener("timeupdate", () => {
    position = video.seeking ? position : video.currentTime;
  });
  video.addEventListener("seeking", onSeeking);
  video.addEventListener("pause", () => attached && !video.ended && setAway(true));
  video.addEventListener("playing", showLiveness);
  element("go-live").addEventListener("click", goLive);
}

function attach(url, wanted, fromStart) {
  stop();
  attached = { wanted, fromStart };
  began = true;
  recoveries = 0;
  standsSince = 0;
  position = 0;
  away = false;
  notice("loading", "Loading…", "");
  if (!Hls.isSupported()) {
    const text = "It has no Media Source Extensions, which the player needs. Try another one.";
    throw new PlayerError("This browser cannot play HLS", text);
  }
  hls = new Hls({
    backBufferLength: 30,
    startPosition: fromStart ? 0 : -1,
    maxLiveSyncPlaybackRate: LIVE_CATCH_UP_RATE,
    manifestLoadPolicy: LIVE_PATIENCE,
    playlistLoadPolicy: LIVE_PATIENCE,
    xhrSetup: (request) => request.setRequestHeader("Authorization", `Bearer ${token}`),
  });
  const mine = hls;
  hls.on(Hls.Events.ERROR, (_event, data) => hls === mine && onLiveError(data));
  hls.on(Hls.Events.MANIFEST_PARSED, offerToPlay);
  hls.loadSource(url);
  hls.attachMedia(video);
}

function detach() {
  if (attached !== null) {
    attached = null;
    stop();
    element("behind").textContent = "–";
  }
}

function onLiveError(data) {
  if (!data.fatal || (data.type === Hls.ErrorTypes.MEDIA_ERROR && recovered())) {
    return;
  }
  if (attached.fromStart && isIn("ended")) {
    return; // what there is was played; that no more comes is no news
  }
  if (data.type !== Hls.ErrorTypes.NETWORK_ERROR) {
    // Others may be playable, and this one again when its tracks change.
    broken = attached.wanted;
    detach();
    fail(playbackError(data));
    showLiveness();
    return;
  }
  // What can be played may be another by now, or the token have expired: the next poll tells, and it begins anew.
  say("buffering");
  const failed = attached;
  setTimeout(() => {
    if (attached === failed) {
      began = !failed.fromStart;
      detach();
      notice("loading", "Loading…", "");
    }
  }, LIVE_RETRY_MS);
}

function onSeeking() {
  if (attached && position - video.currentTime > LIVE_BACK_S) {
    setAway(true);
  }
  position = video.currentTime;
  showLiveness();
}

function setAway(value) {
  away = value;
  if (hls) {
    hls.config.maxLiveSyncPlaybackRate = value ? 1 : LIVE_CATCH_UP_RATE;
  }
  if (value && video.playbackRate > 1 && video.playbackRate <= LIVE_CATCH_UP_RATE) {
    video.playbackRate = 1;
  }
}

function goLive() {
  video.focus();
  if (attached?.fromStart) {
    detach();
    followLive();
    return;
  }
  setAway(false);
  if (hls?.liveSyncPosition) {
    video.currentTime = hls.liveSyncPosition;
  }
  video.play().catch(() => {});
  showLiveness();
}

/** Whether the player has stood still for long, with more to come or without. */
function isStuck() {
  return isIn("buffering") && standsSince !== 0 && Date.now() - standsSince > (isStill() ? 0 : LIVE_STALL_MS);
}

/** What a writer left that died: its playlist has no end, as it may go on, but there is one. */
function endInterrupted() {
  const left = hls && video.seekable.length ? video.seekable.end(video.seekable.length - 1) - video.currentTime : Infinity;
  if (attached?.fromStart && live?.state === "interrupted" && isIn("buffering") && left < LIVE_BACK_S) {
    say("ended");
    video.pause();
  }
}

/** Say how far behind the picture is, and jump to the end where it fell behind too far to catch up. */
function keepLive() {
  endInterrupted();
  standsSince = isIn("buffering") ? standsSince || Date.now() : 0;
  const follows = attached !== null && !attached.fromStart && hls !== null && live !== null && live.state !== "complete";
  if (follows && isIn("playing", "buffering", "paused")) {
    element("behind").textContent = `${hls.latency.toFixed(1)} s`;
    if (isStuck() && !isStill()) {
      standsSince = 0;
      attached.wanted = ""; // the next poll attaches it anew
    }
    if (away && !video.paused && hls.latency <= LIVE_FARTHEST_S) {
      setAway(false);
    }
    if (!away && !video.paused && hls.latency > LIVE_FARTHEST_S && hls.liveSyncPosition > video.currentTime) {
      video.currentTime = hls.liveSyncPosition;
    }
  }
  showLiveness();
}

/** How what is seen relates to what goes on. */
function liveness() {
  const program = live?.programs.find((item) => keyOf(item) === shown);
  if (live === null || live.state === "complete") {
    return live === null ? "off" : "over";
  }
  if (unanswered >= LIVE_LOST_POLLS) {
    return "outage";
  }
  if (!program || attached === null || !isIn("playing", "buffering", "paused", "ended")) {
    return "off";
  }
  if (live.state !== "recording") {
    return live.state;
  }
  if (program.ended || isStill()) {
    return program.ended ? "left" : "still";
  }
  return attached.fromStart || away || hls.latency > LIVE_FARTHEST_S ? "behind" : "on";
}

function showLiveness() {
  const state = liveness();
  document.body.dataset.live = state;
  element("go-live").hidden = state !== "behind";
  remark(isIn("idle", "error", "loading") ? "" : (LIVE_REMARKS[state] ?? ""));
}

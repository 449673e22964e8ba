// A participant in a browser, on livekit-client alone: a moving canvas, a tone that comes and goes, or Chromium's fakes, encrypted.

globalThis.publishVideo = async (url, token, { width, height, publish }) => {
  const room = new LivekitClient.Room();
  await room.connect(url, token);
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  let number = 0;
  const draw = () => {
    number += 1;
    context.fillStyle = `hsl(${(3 * number) % 360} 60% 50%)`;
    context.fillRect(0, 0, width, height);
    context.fillStyle = "black";
    context.fillRect((5 * number) % width, height / 3, width / 8, height / 3);
  };
  draw();
  globalThis.drawing = setInterval(draw, 40);
  const [track] = canvas.captureStream(25).getVideoTracks();
  await room.localParticipant.publishTrack(track, { source: "camera", backupCodec: false, ...publish });
  globalThis.room = room;
  return true;
};

globalThis.publishAudio = async (url, token, { publish }) => {
  const room = new LivekitClient.Room();
  await room.connect(url, token);
  const context = new AudioContext({ sampleRate: 48000 });
  const [tone, gain] = [context.createOscillator(), context.createGain()];
  const output = context.createMediaStreamDestination();
  tone.connect(gain).connect(output);
  // Half a second of tone, a second and a half of nothing.
  for (let at = 0; at < 120; at += 2) {
    gain.gain.setValueAtTime(0.5, at);
    gain.gain.setValueAtTime(0, at + 0.5);
  }
  tone.start();
  const [track] = output.stream.getAudioTracks();
  await room.localParticipant.publishTrack(track, { source: "microphone", ...publish });
  globalThis.room = room;
  return true;
};

globalThis.publishEncrypted = async (url, token, { key, videoCodec }) => {
  const keyProvider = new LivekitClient.ExternalE2EEKeyProvider();
  const worker = new Worker("/livekit-client.e2ee.worker.js");
  const room = new LivekitClient.Room({ encryption: { keyProvider, worker } });
  await keyProvider.setKey(key);
  await room.setE2EEEnabled(true);
  await room.connect(url, token);
  const tracks = await LivekitClient.createLocalTracks({ audio: true, video: { resolution: { width: 640, height: 360 } } });
  for (const track of tracks) {
    await room.localParticipant.publishTrack(track, { videoCodec, simulcast: false, backupCodec: false, dtx: false });
  }
  globalThis.room = room;
  return true;
};

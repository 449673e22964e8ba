// A participant in a browser that encrypts end to end with livekit-client: its own camera and microphone are Chromium's fakes.

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

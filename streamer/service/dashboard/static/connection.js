// The websocket to the dashboard: decodes messages, and connects again when it is lost.

const AGAIN_MS = 1500;

// length of the header, header as JSON, data: see streamer/dashboard/messages.py
function decode(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const from = 4 + length;
  const Numbers = { rows: Float64Array, outlines: Float32Array, preview: Uint8ClampedArray };
  header.data = new Numbers[header.type](buffer, from);
  return header;
}

export class Connection {
  // take(message) gets what arrives; changed(connected) when the connection comes and goes
  constructor(take, changed) {
    this.take = take;
    this.changed = changed;
    this.wanted = "";
    this.open();
  }

  // Look at a run; "" for whichever is the newest.
  look(run) {
    this.wanted = run;
    if (this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ run }));
    }
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/live`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.changed(true);
      this.look(this.wanted);
    };
    this.socket.onmessage = (event) => {
      this.take(typeof event.data === "string" ? JSON.parse(event.data) : decode(event.data));
    };
    this.socket.onclose = () => {
      this.changed(false);
      setTimeout(() => this.open(), AGAIN_MS);
    };
  }
}

// The event stream of the API. After it breaks, it is opened again.

// The exporter sends a sample every second; after this time without one the connection is broken.
const SILENCE_MS = 5000;
const MAX_REASON = 300;
const RETRY_MS = [500, 1000, 2000, 4000];

/** Calls `on.state` with "waiting" (for the first snapshot), "loading" (the history), "live" or "reconnecting", the
    last one with the reason if the server refuses; `on.history` once after each connection, then `on.sample` and
    `on.status`. */
export function connect(on) {
  let failures = 0;
  let silence;
  open();

  function open() {
    const source = new EventSource("api/v1/stream");
    const historyRequest = new AbortController();
    let samples = 0;

    const lost = (reason) => {
      if (historyRequest.signal.aborted) return;
      historyRequest.abort();
      clearTimeout(silence);
      source.close();
      on.state("reconnecting", reason);
      setTimeout(open, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
      failures += 1;
    };
    const restartTimer = () => {
      clearTimeout(silence);
      silence = setTimeout(() => lost(""), SILENCE_MS);
    };

    source.addEventListener("open", () => {
      if (samples === 0) on.state("waiting");
    });
    source.addEventListener("error", async () => {
      lost(source.readyState === EventSource.CLOSED ? await refusal() : "");
    });
    source.addEventListener("status", ({ data }) => on.status(JSON.parse(data)));
    source.addEventListener("sample", async ({ data }) => {
      restartTimer();
      samples += 1;
      if (samples === 1) {
        on.state("loading");
        try {
          const answer = await fetch("api/v1/history", { signal: historyRequest.signal });
          if (!answer.ok) {
            lost(await reasonOf(answer));
            return;
          }
          on.history(await answer.json());
        } catch {
          lost("");
          return;
        }
        failures = 0;
        on.state("live");
      }
      on.sample(JSON.parse(data));
    });
  }
}

// Why the server refuses the stream, which an EventSource does not show; empty if it does not.
async function refusal() {
  const request = new AbortController();
  const timer = setTimeout(() => request.abort(), SILENCE_MS);
  try {
    const answer = await fetch("api/v1/stream", { signal: request.signal });
    return answer.ok ? "" : await reasonOf(answer);
  } catch {
    return "";
  } finally {
    clearTimeout(timer);
    request.abort();
  }
}

// The line of tcpstat; a proxy can answer with a page of its own.
async function reasonOf(answer) {
  const isText = answer.headers.get("content-type")?.startsWith("text/plain");
  const line = isText ? (await answer.text()).split("\n", 1)[0].slice(0, MAX_REASON) : "";
  return line || `the server answers with status ${answer.status}`;
}

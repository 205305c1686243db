// The event stream of the API. After it breaks, it is opened again.

// The exporter sends a sample every second; after this time without one the connection is broken.
const SILENCE_MS = 5000;
const RETRY_MS = [500, 1000, 2000, 4000];

/** Calls `on.state` with "waiting" (for the first snapshot), "live" or "reconnecting", `on.history` once after
    each connection, then `on.sample` and `on.status`. */
export function connect(on) {
  let failures = 0;
  let silence;
  open();

  function open() {
    const source = new EventSource("api/v1/stream");
    const historyRequest = new AbortController();
    let samples = 0;

    const lost = () => {
      if (historyRequest.signal.aborted) return;
      historyRequest.abort();
      clearTimeout(silence);
      source.close();
      on.state("reconnecting");
      setTimeout(open, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
      failures += 1;
    };
    const restartTimer = () => {
      clearTimeout(silence);
      silence = setTimeout(lost, SILENCE_MS);
    };

    source.addEventListener("open", () => {
      if (samples === 0) on.state("waiting");
    });
    source.addEventListener("error", lost);
    source.addEventListener("status", ({ data }) => on.status(JSON.parse(data)));
    source.addEventListener("sample", async ({ data }) => {
      restartTimer();
      samples += 1;
      if (samples === 1) {
        try {
          const answer = await fetch("api/v1/history", { signal: historyRequest.signal });
          if (!answer.ok) throw new Error(`history: ${answer.status}`);
          on.history(await answer.json());
        } catch {
          lost();
          return;
        }
        failures = 0;
        on.state("live");
      }
      on.sample(JSON.parse(data));
    });
  }
}

/** One event of a watch. */
export interface WatchEvent<T> {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  object: T;
}

/** Reads a watch, an event a line. Leaving the loop over it ends the watch. */
export async function* events<T>(body: ReadableStream<Uint8Array>): AsyncGenerator<WatchEvent<T>> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      yield JSON.parse(line) as WatchEvent<T>;
    }
  }
}

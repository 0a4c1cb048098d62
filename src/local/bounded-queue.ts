interface Blocked<T> {
  readonly item: T;
  readonly accept: (taken: boolean) => void;
}

/**
 * First-in first-out queue of at most `capacity` items, between any number of writers and readers. A writer waits while
 * the queue is full; a reader waits while it is empty. Readers are served in the order they asked, so whoever is free
 * first gets the next item. The queue ends when each of its writers has said so and it is empty.
 */
export class BoundedQueue<T> {
  readonly capacity: number;
  readonly #items: T[] = [];
  readonly #blocked: Blocked<T>[] = [];
  readonly #readers: ((item: T | null) => void)[] = [];
  #openWriters: number;
  #cancelled = false;

  constructor(capacity: number, writers: number) {
    this.capacity = capacity;
    this.#openWriters = writers;
  }

  /** Items waiting to be read; never more than `capacity`. */
  get size(): number {
    return this.#items.length;
  }

  /** Resolves to true once the item has a place, to false when nobody will ever read it. */
  push(item: T): Promise<boolean> {
    if (this.#cancelled) return Promise.resolve(false);
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader(item);
      return Promise.resolve(true);
    }
    if (this.#items.length < this.capacity) {
      this.#items.push(item);
      return Promise.resolve(true);
    }
    return new Promise((accept) => this.#blocked.push({ item, accept }));
  }

  /** The next item, or null at the end of the stream. */
  pull(): Promise<T | null> {
    const item = this.#items.shift();
    if (item !== undefined) {
      const next = this.#blocked.shift();
      if (next !== undefined) {
        this.#items.push(next.item);
        next.accept(true);
      }
      return Promise.resolve(item);
    }
    if (this.#cancelled || this.#openWriters === 0) return Promise.resolve(null);
    return new Promise((resolve) => this.#readers.push(resolve));
  }

  /** Called once by each writer after its last `push` has settled. */
  writerDone(): void {
    this.#openWriters -= 1;
    if (this.#openWriters === 0) this.#endReaders();
  }

  /** Ends the queue from the reading side: what waits is thrown away, and counted in the result. */
  cancel(): number {
    if (this.#cancelled) return 0;
    this.#cancelled = true;
    const discarded = this.#items.splice(0).length;
    for (const { accept } of this.#blocked.splice(0)) accept(false);
    this.#endReaders();
    return discarded;
  }

  #endReaders(): void {
    for (const reader of this.#readers.splice(0)) reader(null);
  }
}

// What the window knows: the newest Snapshot, the time, which row is open, and what was refused.

import { Refused, type Backend, type Command, type ConnectionForm, type ErrorView, type Snapshot } from "../backend";
import { nextChange, remaining } from "./countdown";

/** Where a refusal is shown when it concerns no single database. */
export const WINDOW = "";
const SLOWEST = 60_000;

export class WindowState {
  snapshot = $state.raw<Snapshot | null>(null);
  now = $state(Date.now());
  search = $state("");
  openRow = $state<string | null>(null);
  selected = $state(0);
  refusals = $state<Record<string, ErrorView>>({});

  constructor(readonly backend: Backend) {}

  async start(): Promise<void> {
    await this.backend.onSnapshot((snapshot) => {
      this.snapshot = snapshot;
      this.now = Date.now();
    });
    await this.backend.onShowTarget((target) => {
      this.search = "";
      this.openRow = target;
    });
  }

  get signedIn(): boolean {
    return this.snapshot?.identity.state === "signed-in";
  }

  /** Sends a command; a refusal is shown at `place` until the next try there. */
  async send(command: Command, place: string = WINDOW): Promise<boolean> {
    return this.#try(place, () => this.backend.send(command));
  }

  async copyConnection(target: string, form: ConnectionForm): Promise<boolean> {
    return this.#try(target, () => this.backend.copyConnection(target, form));
  }

  async copyPassword(target: string): Promise<boolean> {
    return this.#try(target, () => this.backend.copyPassword(target));
  }

  async copy(text: string): Promise<boolean> {
    return this.#try(WINDOW, () => this.backend.copy(text));
  }

  async openSignInPage(): Promise<boolean> {
    return this.#try(WINDOW, () => this.backend.openSignInPage());
  }

  toggle(target: string): void {
    this.openRow = this.openRow === target ? null : target;
  }

  /** Milliseconds until some shown time reads differently. */
  untilNextTick(): number {
    const snapshot = this.snapshot;
    if (snapshot === null) return SLOWEST;
    const ends = snapshot.targets.flatMap((view) => (view.bindingLimit === null ? [] : [view.bindingLimit.expiresAt]));
    if (snapshot.identity.state === "signed-in") ends.push(snapshot.identity.expiresAt);
    const changes = ends.map((at) => nextChange(remaining(at, Date.now())));
    const waits = snapshot.targets.flatMap(({ request }) =>
      request?.state.state === "pending" ? [1000 - ((Date.now() - Date.parse(request.requestedAt)) % 1000) + 1] : [],
    );
    return Math.min(SLOWEST, ...changes, ...waits);
  }

  async #try(place: string, ask: () => Promise<void>): Promise<boolean> {
    delete this.refusals[place];
    try {
      await ask();
      return true;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.refusals[place] = error.view;
      return false;
    }
  }
}

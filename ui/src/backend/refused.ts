import type { ErrorView } from "./bindings";

/** The agent said no. */
export class Refused extends Error {
  constructor(readonly view: ErrorView) {
    super(view.message);
  }
}

// A made-up world for looking at the window in a browser. `?scene=` picks where it begins.

import type { Backend } from ".";
import type { Command, ConnectionForm, Gateway, LeftSession, OpeningStep, RoleName, Snapshot, Target, TargetView } from "./bindings";

const STEPS: OpeningStep[] = ["bind-port", "check-account", "open-tunnel", "prove-login"];
const PAUSE = 450;

export class DemoBackend implements Backend {
  #snapshot = scene(new URLSearchParams(location.search).get("scene") ?? "busy");
  #listeners: ((snapshot: Snapshot) => void)[] = [];

  async onSnapshot(listener: (snapshot: Snapshot) => void): Promise<void> {
    this.#listeners.push(listener);
    listener(this.#snapshot);
  }

  async onShowTarget(listener: (target: string) => void): Promise<void> {
    const target = new URLSearchParams(location.search).get("target");
    if (target !== null) listener(target);
  }

  async copyConnection(target: string, form: ConnectionForm): Promise<void> {
    const gateway = this.#snapshot.targets.find((view) => view.target.id === target)?.gateway;
    const texts = gateway?.state === "open" ? gateway.connection.texts : [];
    await this.copy(texts.find((text) => text.form === form)?.text ?? "");
  }

  async copyPassword(): Promise<void> {
    await this.copy("a-local-password");
  }

  async copy(text: string): Promise<void> {
    await navigator.clipboard?.writeText(text);
  }

  async openSignInPage(): Promise<void> {}

  async send(command: Command): Promise<void> {
    switch (command.command) {
      case "sign-in":
        this.#publish({ ...this.#snapshot, identity: { state: "signing-in", identityProvider: "acme", authorizeUrl: "http://127.0.0.1/" } });
        setTimeout(() => this.#publish(scene("signed-in")), 3 * PAUSE);
        return;
      case "sign-out":
      case "cancel-sign-in":
        return this.#publish(scene("signed-out"));
      case "end-left-sessions":
        return this.#keepSessions((session) => session.origin !== "this-computer");
      case "end-session":
        return this.#keepSessions((session) => session.id !== command.session);
      case "open-gateway":
        return this.#open(command.target, command.role ?? "read-only", 0);
      case "close-gateway":
        return this.#change(command.target, { gateway: closed() });
      case "release-grant":
        return this.#change(command.target, {
          gateway: closed(), bindingLimit: null, grant: { state: "ended", role: "read-only", at: inSeconds(0), reason: "released" },
        });
      case "request-access":
        return this.#request(command);
      case "cancel-request":
        return this.#cancel(command.request);
      case "review-request":
        return this.#publish({ ...this.#snapshot, reviews: this.#snapshot.reviews.filter((r) => r.brokerRef !== command.brokerRef) });
      case "quit":
        return;
    }
  }

  #open(target: string, role: RoleName, at: number): void {
    const done = STEPS.slice(0, at).map((step, index) => ({ step, milliseconds: [2, 140, 620, 95][index] ?? 0 }));
    const step = STEPS[at];
    if (step === undefined) return this.#change(target, { gateway: { ...open(role), done } });
    this.#change(target, { gateway: { state: "opening", role, step, done } });
    setTimeout(() => this.#open(target, role, at + 1), PAUSE);
  }

  #request(command: Extract<Command, { command: "request-access" }>): void {
    const { target, role, duration, justification, ticket } = command;
    const request = { id: crypto.randomUUID(), target, role, duration, justification, ticket, requestedAt: inSeconds(0) };
    this.#change(target, { request: { ...request, state: { state: "pending", brokerRef: null, lapsesAt: inSeconds(3600) } } });
    setTimeout(() => {
      const expiresAt = inSeconds(130);
      this.#change(target, {
        request: { ...request, state: { state: "approved", by: "eva@acme.dev" } },
        grant: { state: "active", role, expiresAt },
        bindingLimit: { kind: "grant", expiresAt },
      });
      if (command.connectWhenApproved) this.#open(target, role, 0);
    }, 8 * PAUSE);
  }

  #cancel(id: string): void {
    for (const { request, target } of this.#snapshot.targets) {
      if (request?.id === id) this.#change(target.id, { request: { ...request, state: { state: "cancelled" } } });
    }
  }

  #keepSessions(kept: (session: LeftSession) => boolean): void {
    const { leftSessions } = this.#snapshot;
    this.#publish({ ...this.#snapshot, leftSessions: { ...leftSessions, sessions: leftSessions.sessions.filter(kept) } });
  }

  #change(target: string, change: Partial<TargetView>): void {
    const targets = this.#snapshot.targets.map((view) => (view.target.id === target ? { ...view, ...change } : view));
    this.#publish({ ...this.#snapshot, targets });
  }

  #publish(snapshot: Snapshot): void {
    this.#snapshot = snapshot;
    for (const listener of this.#listeners) listener(snapshot);
  }
}

function inSeconds(seconds: number): string {
  return new Date(Date.now() + seconds * 1000).toISOString();
}

const FOLDER = "/run/user/1000/daypass/gateways/orders-prod";

function closed(): Gateway {
  return { state: "closed", cause: null };
}

function open(role: RoleName): Extract<Gateway, { state: "open" }> {
  return {
    state: "open", role, openedAt: inSeconds(-240), connections: 1,
    done: STEPS.map((step, index) => ({ step, milliseconds: [2, 140, 620, 95][index] ?? 0 })),
    connection: {
      host: "127.0.0.1", port: 54321, user: "app_ro", database: "shop", socket: `${FOLDER}/.s.PGSQL.54321`, environment: [],
      texts: [
        { form: "url", text: "postgresql://app_ro@127.0.0.1:54321/shop" },
        { form: "psql", text: `psql -h ${FOLDER} -p 54321 -U app_ro -d shop` },
        { form: "jdbc", text: "jdbc:postgresql://127.0.0.1:54321/shop?user=app_ro" },
        { form: "dbeaver", text: "driver=postgresql|host=127.0.0.1|port=54321|database=shop|user=app_ro" },
      ],
    },
  };
}

function target(id: string, environment: Target["environment"], engine: Target["engine"] = "postgres"): Target {
  return {
    id, engine, environment,
    endpoint: { host: `${id}.c9daypass0.eu-west-1.rds.amazonaws.com`, port: engine === "postgres" ? 5432 : 3306 },
    region: "eu-west-1", account: "111122223333", database: "shop", rdsIdentifier: id,
    bastion: { instance: "i-0da7a9a55ba5710e1" }, document: "remote-host", localPort: null,
  };
}

function onRequest(...roles: RoleName[]): TargetView["entitlements"] {
  return roles.map((role) => ({
    role, databaseUser: role === "read-only" ? "app_ro" : "app_rw", secret: null,
    gate: { kind: "on-request", runbook: "Daypass-TemporaryAccess", durations: ["2m", "15m", "1h"], approvers: "payments-leads" },
  }));
}

function standing(): TargetView["entitlements"] {
  return [{ role: "read-only", databaseUser: "app_ro", secret: null, gate: { kind: "standing" } }];
}

function idle(of: Target, entitlements: TargetView["entitlements"]): TargetView {
  return { target: of, entitlements, request: null, grant: null, gateway: closed(), bindingLimit: null };
}

function quiet(): TargetView[] {
  return [
    idle(target("archive-prod", "production"), onRequest("read-only")),
    idle(target("billing-staging", "staging"), standing()),
    idle(target("ledger-prod", "production"), onRequest("read-only", "read-write")),
    idle(target("orders-prod", "production"), onRequest("read-only", "read-write")),
    idle(target("search-dev", "development", "mysql"), standing()),
    idle(target("users-prod", "production", "mariadb"), onRequest("read-only")),
  ];
}

function busyTargets(): TargetView[] {
  const expiresAt = inSeconds(42 * 60 + 20);
  const asked = { id: "6f3f8f5e-0f0e-4b5e-9d0e-3f1c2b1a0d9e", role: "read-only" as const, ticket: "INC-42" };
  const states: Record<string, Partial<TargetView>> = {
    "archive-prod": {
      grant: { state: "active", role: "read-only", expiresAt: inSeconds(1500) },
      bindingLimit: { kind: "grant", expiresAt: inSeconds(1500) },
      gateway: {
        state: "closed",
        cause: {
          code: "target-offline",
          message: "the bastion i-0da7a9a55ba5710e2 of archive-prod is not connected to Session Manager",
          hint: "start the instance, or ask whoever runs it; Daypass never restarts it",
        },
      },
    },
    "orders-prod": {
      request: {
        ...asked, target: "orders-prod", duration: "1h", justification: "Stuck batch", requestedAt: inSeconds(-1200),
        state: { state: "approved", by: "eva@acme.dev" },
      },
      grant: { state: "active", role: "read-only", expiresAt }, gateway: open("read-only"), bindingLimit: { kind: "grant", expiresAt },
    },
    "users-prod": {
      request: {
        ...asked, target: "users-prod", duration: "15m", justification: "Check a customer's address", requestedAt: inSeconds(-190),
        state: { state: "pending", brokerRef: "e-1", lapsesAt: inSeconds(3400) },
      },
    },
  };
  return quiet().map((view) => ({ ...view, ...states[view.target.id] }));
}

function leftSessions(): LeftSession[] {
  const session = { region: "eu-west-1", state: { state: "open" } } as const;
  return [
    { ...session, id: "ana@acme.dev-0f9d6c1b2a7e", target: "users-prod", since: inSeconds(-3700), origin: "this-computer" },
    { ...session, id: "ana@acme.dev-7c55d0e9b1f4", target: "billing-staging", since: inSeconds(-500), origin: "elsewhere" },
  ];
}

function scene(name: string): Snapshot {
  const signedIn = { state: "signed-in", identityProvider: "acme", subject: "ana@acme.dev", expiresAt: inSeconds(7 * 3600 + 725) } as const;
  const base: Snapshot = {
    identity: signedIn, identityProviders: [{ id: "acme", name: "Acme" }], targets: quiet(), reviews: [],
    leftSessions: { lookedAt: inSeconds(-5), unseen: null, sessions: [] },
    secretsKeptIn: { kind: "keychain" }, clockSkewSeconds: 0, warnings: [],
  };
  if (name === "signed-out") return { ...base, identity: { state: "signed-out", cause: null } };
  if (name === "signed-in") return base;
  return {
    ...base,
    targets: busyTargets(),
    leftSessions: { ...base.leftSessions, sessions: leftSessions() },
    secretsKeptIn: { kind: "memory", why: "no keychain answers on this desktop" },
    reviews: [
      {
        brokerRef: "e-2", requester: "ben@acme.dev", target: "ledger-prod", role: "read-write", duration: "PT1H",
        justification: "INC-42 stuck batch", requestedAt: inSeconds(-95), own: false,
      },
    ],
  };
}

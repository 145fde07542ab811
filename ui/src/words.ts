// Every word of the window.

export const words = {
  appName: "Daypass",
  search: "Search databases",
  connect: "Connect",
  disconnect: "Disconnect",
  cancel: "Cancel",
  request: "Request",
  giveBack: "Give access back",
  copied: "Copied",
  copy: "Copy",

  signedOut: "Not signed in",
  signIn: "Sign in",
  signInAt: (name: string) => `Sign in at ${name}`,
  signOut: "Sign out",
  signingIn: (name: string) => `Signing in at ${name}: finish in the browser`,
  openPageAgain: "Open the page again",
  signedInFor: (left: string) => `${left} left`,

  connected: "Connected",
  disconnecting: "Disconnecting",
  reconnecting: "Reconnecting",
  settingUp: "Approved, being set up",
  waiting: "Waiting for approval",
  waitingFor: (time: string) => `for ${time}`,
  available: "Ready to connect",
  didNotOpen: "Did not connect",
  onRequest: "On request",
  denied: "Denied",
  lapsed: "Nobody answered",
  requestFailed: "Request failed",
  ended: { expired: "Access ended", released: "Given back", revoked: "Revoked" },
  opening: {
    "bind-port": "Taking the port",
    "check-account": "Checking the account",
    "open-tunnel": "Opening the tunnel",
    "prove-login": "Proving the login",
  },
  steps: {
    "bind-port": "Local port",
    "check-account": "AWS account",
    "open-tunnel": "Tunnel",
    "prove-login": "Login",
  },
  stepTime: (milliseconds: number) => (milliseconds < 1000 ? `${milliseconds} ms` : `${(milliseconds / 1000).toFixed(1)} s`),
  stepUnderWay: "under way",
  limit: { grant: "grant ends", "sign-in": "sign-in ends" },
  limitSentence: {
    grant: (time: string) => `The grant ends at ${time}; access ends by itself.`,
    "sign-in": (time: string) => `The sign-in ends at ${time}; sign in again to go on.`,
  },

  role: { "read-only": "read-only", "read-write": "read-write" },
  engine: { postgres: "PostgreSQL", mysql: "MySQL", mariadb: "MariaDB" },
  environment: { development: "dev", staging: "staging", production: "production" },

  host: "Host",
  port: "Port",
  user: "User",
  database: "Database",
  password: "Password",
  copyFor: "Copy for",
  form: {
    url: "URL",
    psql: "psql",
    mysql: "mysql",
    jdbc: "JDBC",
    "pg-service": "pg_service",
    env: ".env",
    dbeaver: "DBeaver",
    tableplus: "TablePlus",
    datagrip: "DataGrip",
    pgadmin: "pgAdmin",
  },
  connections: (count: number) => (count === 1 ? "1 connection" : `${count} connections`),

  requestTitle: "Ask for access",
  roleLabel: "Role",
  durationLabel: "For",
  justification: "Why",
  justificationHint: "What you are going to do; the approver reads it",
  ticket: "Ticket",
  ticketHint: "optional",
  connectWhenApproved: "Connect as soon as it is approved",
  sendRequest: "Send request",
  typeName: (name: string) => `Production, read-write: type ${name} to go on`,
  summary: (role: string, target: string, duration: string, approvers: string) =>
    `${role[0]?.toUpperCase() ?? ""}${role.slice(1)} on ${target} for ${duration} after approval; ${approvers} may approve, not you.`,
  lapsesAt: (time: string) => `The request lapses at ${time}.`,
  deniedBy: (by: string | null, comment: string | null) =>
    `${by ?? "Somebody"} denied it${comment === null || comment === "" ? "" : `: “${comment}”`}`,
  askedFor: (role: string, duration: string) => `You asked for ${role} for ${duration}`,

  reviews: "Waiting for your review",
  asks: (who: string, role: string, target: string, duration: string) => `${who} asks for ${role} on ${target} for ${duration}`,
  ownRequest: "Your own request: a colleague has to answer it",
  comment: "Comment",
  approve: "Approve",
  deny: "Deny",

  leftSessions: "Sessions that no database here uses",
  sessionsLeft: (count: number) =>
    count === 1 ? "1 session was left open when Daypass ended" : `${count} sessions were left open when Daypass ended`,
  sessionFrom: (target: string | null, region: string, age: string | null) =>
    `A session to ${target ?? "a database"} in ${region} from elsewhere${age === null ? "" : `, open for ${age}`}; another computer may be using it`,
  endSessions: (count: number) => (count === 1 ? "End it" : "End them"),
  endingSessions: "Ending",

  noTargets: "The catalog has no databases",
  noTargetsHint: "Ask your administrator for the catalog file",
  noMatch: (search: string) => `Nothing matches “${search}”`,
  loading: "Asking the agent",
  inMemory: "No keychain here: you sign in again after a restart",
  clockOff: (seconds: number) => `This computer's clock is ${Math.abs(seconds)} s ${seconds > 0 ? "behind" : "ahead of"} AWS`,

  /** Amounts with their units, without leading zeros: `7 h 12 min`. */
  duration: (parts: readonly (readonly [number, string])[]): string => {
    const spoken = parts.filter(([amount]) => amount > 0).map(([amount, unit]) => `${amount} ${unit}`);
    return spoken.length > 0 ? spoken.join(" ") : `0 ${parts.at(-1)?.[1] ?? "s"}`;
  },
} as const;

-- One row of identity: which store this is, and its generation. `generation` is raised as the first
-- statement of each write transaction, so that commit order is generation order.
CREATE TABLE head (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    cloud       TEXT    NOT NULL,
    store       TEXT    NOT NULL,
    incarnation BIGINT  NOT NULL,
    generation  BIGINT  NOT NULL
);

-- Every resource. What belongs to a type alone is in `body`, as JSON.
CREATE TABLE resource (
    id         BIGINT PRIMARY KEY,
    type       TEXT   NOT NULL,
    account    BIGINT NOT NULL,
    uuid       TEXT   NOT NULL,
    name       TEXT,
    removed    BIGINT,
    generation BIGINT NOT NULL,
    body       TEXT   NOT NULL,
    UNIQUE (account, uuid)
);

-- What can be held only once: addresses and Ethernet addresses of a network, VNIs, host numbers,
-- prefixes. The constraint decides; candidates are chosen in memory.
CREATE TABLE claim (
    space  TEXT   NOT NULL,
    value  TEXT   NOT NULL,
    holder BIGINT NOT NULL REFERENCES resource (id),
    PRIMARY KEY (space, value)
);
CREATE INDEX claim_holder ON claim (holder);

-- Answers to creates that came with an idempotency key.
CREATE TABLE answer (
    account BIGINT NOT NULL,
    key     TEXT   NOT NULL,
    request TEXT   NOT NULL,
    made    BIGINT NOT NULL,
    ids     TEXT   NOT NULL,
    PRIMARY KEY (account, key)
);

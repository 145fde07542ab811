-- A billing database. Every row follows from its number, so that each sandbox holds the same data.
CREATE DATABASE billing;
CREATE DATABASE bench;
USE billing;

CREATE TABLE accounts (
    id INT PRIMARY KEY,
    name VARCHAR(80) NOT NULL,
    email VARCHAR(120) NOT NULL UNIQUE,
    country CHAR(2) NOT NULL
);

CREATE TABLE invoices (
    id INT PRIMARY KEY,
    account_id INT NOT NULL,
    status ENUM('open', 'paid', 'overdue', 'cancelled') NOT NULL,
    issued_at DATETIME NOT NULL,
    FOREIGN KEY (account_id) REFERENCES accounts (id)
);

CREATE TABLE invoice_lines (
    invoice_id INT NOT NULL,
    line INT NOT NULL,
    text VARCHAR(120) NOT NULL,
    amount_cents INT NOT NULL,
    PRIMARY KEY (invoice_id, line),
    FOREIGN KEY (invoice_id) REFERENCES invoices (id)
);

INSERT INTO accounts (id, name, email, country) VALUES
    (1, 'Holm & Co', 'books@holm.example.com', 'DK'),
    (2, 'Nagy Kft.', 'iroda@nagy.example.com', 'HU'),
    (3, 'Conti S.r.l.', 'conti@conti.example.com', 'IT'),
    (4, 'Luna y Sol', 'luna@lunaysol.example.com', 'ES'),
    (5, 'Malmö Mekaniska', 'order@mekaniska.example.com', 'SE');

INSERT INTO invoices (id, account_id, status, issued_at)
SELECT seq, 1 + (seq * 3) % 5, ELT(1 + seq % 4, 'paid', 'open', 'overdue', 'paid'),
       TIMESTAMPADD(HOUR, seq * 7, '2026-11-01 08:00:00')
FROM seq_1_to_60;

INSERT INTO invoice_lines (invoice_id, line, text, amount_cents)
SELECT i.seq, l.seq, CONCAT('Position ', l.seq, ' of invoice ', i.seq), 100 * (1 + (i.seq * 7 + l.seq * 5) % 90)
FROM seq_1_to_60 AS i JOIN seq_1_to_3 AS l;

-- As at RDS, where AWSAuthenticationPlugin stands in the way: these two show a token to the front, which then uses a
-- password nobody else knows.
CREATE USER app_ro@'%' IDENTIFIED BY '{front}';
CREATE USER app_rw@'%' IDENTIFIED BY '{front}';
GRANT SELECT ON billing.* TO app_ro@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON billing.* TO app_rw@'%';
-- Room for load tests.
GRANT ALL ON bench.* TO app_rw@'%';
GRANT SELECT ON bench.* TO app_ro@'%';

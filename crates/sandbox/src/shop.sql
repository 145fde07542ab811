-- A small shop. Every row follows from its number, so that each sandbox holds the same data.

CREATE TABLE customers (
    id integer PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL UNIQUE,
    city text NOT NULL
);

CREATE TABLE products (
    id integer PRIMARY KEY,
    name text NOT NULL UNIQUE,
    price_cents integer NOT NULL CHECK (price_cents > 0)
);

CREATE TABLE orders (
    id integer PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers (id),
    status text NOT NULL CHECK (status IN ('new', 'paid', 'shipped', 'returned')),
    placed_at timestamptz NOT NULL
);

CREATE TABLE order_items (
    order_id integer NOT NULL REFERENCES orders (id),
    product_id integer NOT NULL REFERENCES products (id),
    quantity integer NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (order_id, product_id)
);

INSERT INTO customers (id, name, email, city) VALUES
    (1, 'Ada Holm', 'ada@example.com', 'Aarhus'),
    (2, 'Bela Nagy', 'bela@example.com', 'Szeged'),
    (3, 'Chiara Conti', 'chiara@example.com', 'Torino'),
    (4, 'Diego Luna', 'diego@example.com', 'Sevilla'),
    (5, 'Emma Roy', 'emma@example.com', 'Lyon'),
    (6, 'Femi Ojo', 'femi@example.com', 'Ibadan'),
    (7, 'Greta Lind', 'greta@example.com', 'Malmö'),
    (8, 'Hana Sato', 'hana@example.com', 'Kobe'),
    (9, 'Ivo Novak', 'ivo@example.com', 'Brno'),
    (10, 'Jana Vidal', 'jana@example.com', 'Girona');

INSERT INTO products (id, name, price_cents) VALUES
    (1, 'Teapot', 3490),
    (2, 'Cup', 890),
    (3, 'Saucer', 450),
    (4, 'Sencha, 100 g', 1250),
    (5, 'Assam, 100 g', 990),
    (6, 'Rooibos, 100 g', 790),
    (7, 'Strainer', 640),
    (8, 'Kettle', 5990);

INSERT INTO orders (id, customer_id, status, placed_at)
SELECT n,
       1 + (n * 7) % 10,
       (ARRAY['paid', 'shipped', 'shipped', 'new', 'returned'])[1 + n % 5],
       timestamptz '2026-11-01 08:00:00+00' + n * interval '7 hours 13 minutes'
FROM generate_series(1, 50) AS n;

INSERT INTO order_items (order_id, product_id, quantity)
SELECT n, 1 + (n * 3 + line * 5) % 8, 1 + (n + line) % 3
FROM generate_series(1, 50) AS n, generate_series(0, n % 3) AS line;

CREATE ROLE rds_iam NOLOGIN;
-- What password users can do; app_ro can no more.
CREATE ROLE shop_reader NOLOGIN;
CREATE ROLE app_ro LOGIN IN ROLE rds_iam, shop_reader;
CREATE ROLE app_rw LOGIN IN ROLE rds_iam, shop_reader;

REVOKE ALL ON DATABASE shop FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT CONNECT ON DATABASE shop TO shop_reader;
GRANT USAGE ON SCHEMA public TO shop_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop_reader;
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app_rw;

-- Room for load tests: `PGOPTIONS=-csearch_path=bench pgbench --initialize`.
CREATE SCHEMA bench AUTHORIZATION app_rw;
GRANT USAGE ON SCHEMA bench TO shop_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE app_rw IN SCHEMA bench GRANT SELECT ON TABLES TO shop_reader;

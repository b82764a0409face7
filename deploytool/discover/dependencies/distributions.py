"""Facts about distributions of PyPI: the modules they have, and what they bring along.

Only what differs from the plain rule is written down: a module `some_thing` comes from the
distribution `some-thing`, which brings nothing that code of another project would import.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from packaging.utils import canonicalize_name


def _lists(text: str) -> Mapping[str, tuple[str, ...]]:
    """`name: value value` lines; more values on the next, indented lines."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.replace("\n    ", " ").splitlines():
        name, _, values = line.partition(":")
        if values.strip():
            found[name] = tuple(values.split())
    return found


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


PROVIDERS = _lists("""
Crypto: pycryptodome pycryptodomex pycrypto
Cryptodome: pycryptodomex
Levenshtein: levenshtein python-levenshtein
MySQLdb: mysqlclient
OpenGL: pyopengl
OpenSSL: pyopenssl
PIL: pillow pillow-simd
PyPDF2: pypdf2
Xlib: python-xlib
_cffi_backend: cffi
absl: absl-py
argon2: argon2-cffi
attr: attrs
attrs: attrs
authlib: authlib
bs4: beautifulsoup4 bs4
bson: pymongo
cachecontrol: cachecontrol
clickhouse_connect: clickhouse-connect
consul: python-consul python-consul2 py-consul
cv2: opencv-python-headless opencv-python opencv-contrib-python opencv-contrib-python-headless
Cython: cython
dateutil: python-dateutil
dbus: dbus-python
decouple: python-decouple
deep_translator: deep-translator
discord: discord-py py-cord nextcord
distutils: setuptools
dns: dnspython
docker: docker
docx: python-docx
dotenv: python-dotenv
ebooklib: ebooklib
editor: python-editor
elasticsearch: elasticsearch elasticsearch7 elasticsearch8
engineio: python-engineio
fastapi_cache: fastapi-cache2 fastapi-cache
faiss: faiss-cpu faiss-gpu faiss-gpu-cu12 faiss
fake_useragent: fake-useragent
ffmpeg: ffmpeg-python
fitz: pymupdf
flask_cors: flask-cors
genai_prices: genai-prices
git: gitpython
github: pygithub
gitlab: python-gitlab
google.ai.generativelanguage: google-ai-generativelanguage google-generativeai
google.api_core: google-api-core
google.auth: google-auth
google.cloud.firestore_v1: google-cloud-firestore
google.cloud.ndb: google-cloud-ndb
google.genai: google-genai
google.generativeai: google-generativeai
google.oauth2: google-auth
google.protobuf: protobuf
google_auth_oauthlib: google-auth-oauthlib
googleapiclient: google-api-python-client
gql: gql
grpc: grpcio
grpc_tools: grpcio-tools
haystack: haystack-ai farm-haystack
hydra: hydra-core
igraph: igraph python-igraph
imblearn: imbalanced-learn
jose: python-jose
jwt: pyjwt jwt
kafka: kafka-python kafka-python-ng
keycloak: python-keycloak
ldap: python-ldap
ldap3: ldap3
linebot: line-bot-sdk
llama_cpp: llama-cpp-python
llama_index: llama-index llama-index-core
llama_parse: llama-parse llama-cloud-services
lxml: lxml
magic: python-magic python-magic-bin
markdown: markdown
markdown_it: markdown-it-py
mongoengine: mongoengine
mpl_toolkits: matplotlib
multipart: python-multipart multipart
mysql: mysql-connector-python mysql-connector mysql-connector-python-rf
mysql.connector: mysql-connector-python mysql-connector mysql-connector-python-rf
nacl: pynacl
nmap: python-nmap
osgeo: gdal
pdfminer: pdfminer-six pdfminer
passlib: passlib libpass
peewee: peewee
pika: pika
pinecone: pinecone pinecone-client
pkg_resources: setuptools
pptx: python-pptx
prometheus_client: prometheus-client
psycopg: psycopg
psycopg_pool: psycopg-pool
psycopg2: psycopg2-binary psycopg2
pwa: pwa
pyasn1: pyasn1
pycparser: pycparser
pydantic_core: pydantic-core
pymssql: pymssql
pymupdf: pymupdf
pypdfium2: pypdfium2
pyrebase: pyrebase4 pyrebase
python_multipart: python-multipart
pythoncom: pywin32
pythonjsonlogger: python-json-logger
pywintypes: pywin32
qdrant_client: qdrant-client
rapidjson: python-rapidjson
rest_framework: djangorestframework
ruamel.yaml: ruamel-yaml
sentry_sdk: sentry-sdk
serial: pyserial
setuptools: setuptools
simple_salesforce: simple-salesforce
sklearn: scikit-learn
skimage: scikit-image
slack: slackclient
slack_sdk: slack-sdk
slugify: python-slugify awesome-slugify unicode-slugify
snappy: python-snappy
snowflake: snowflake-connector-python
socketio: python-socketio
socks: pysocks
speech_recognition: speechrecognition
sqlalchemy_utils: sqlalchemy-utils
starlette_context: starlette-context
tabula: tabula-py
telegram: python-telegram-bot
telebot: pytelegrambotapi
tensorflow: tensorflow tensorflow-cpu tensorflow-gpu tf-nightly
keras: keras tensorflow tensorflow-cpu
thefuzz: thefuzz
tlz: toolz
toolz: toolz cytoolz
tortoise: tortoise-orm
tree_sitter: tree-sitter
twitter: python-twitter
typing_extensions: typing-extensions
ulid: python-ulid ulid-py
umap: umap-learn
unstructured: unstructured
usb: pyusb
user_agents: user-agents
uuid6: uuid6
uuid_extensions: uuid7
vk_api: vk-api
volcenginesdkarkruntime: volcengine-python-sdk
webview: pywebview
whisper: openai-whisper
whois: python-whois whois
win32api: pywin32
win32com: pywin32
win32con: pywin32
wx: wxpython
xmltodict: xmltodict
yaml: pyyaml
youtube_transcript_api: youtube-transcript-api
zmq: pyzmq
""")
"""Module -> the distributions that have it, the one to recommend first."""

NAMESPACES = frozenset(
    {"google", "google.cloud", "azure", "azure.ai", "opentelemetry", "backports"}
)
"""Folders that many distributions share: no module of one's own."""

LONGEST = {"azure": 3, "google": 3, "opentelemetry": 5, "llama_index": 4}
"""Top-level module -> how many parts of a module's name its distribution's name has at most."""

TELEMETRY = ("opentelemetry-sdk", "opentelemetry-distro")
"""The distributions that bring opentelemetry-api."""

PLAIN = _names("""
aioboto3 aiobotocore aiofiles aiogram aiohttp aiokafka aiomysql aiopg aioodbc aiosmtplib
aiosql aiosqlite alembic anthropic anyio arq asgiref asyncmy asyncpg asyncssh azure babel
bcrypt beanie bleach boto3 botocore cachetools celery certifi chromadb click cohere colorama
cryptography databases dramatiq edgedb emails environs fakeredis fastapi
fastapi_limiter fastapi_mail fastapi_pagination fastapi_users firebase_admin flask gensim
gevent gino gradio graphene gunicorn h11 h2 hiredis httptools httpx httpx2 huey hvac hypercorn
itsdangerous jinja2 joblib jsonschema kombu langchain langchain_community langchain_core
langchain_openai langgraph limits litellm loguru mako mangum markupsafe marshmallow
matplotlib minio mlflow motor msgpack neo4j networkx nltk numpy oauthlib odmantic openai
openpyxl orjson ormar packaging pandas paramiko pendulum piccolo playwright plotly
polars pony prisma psutil pwdlib pyarrow pycurl pydantic pydantic_settings pydub pygments
pymongo pymysql pyodbc pyotp pypdf pytesseract pytest pytz qrcode redis regex requests rich
rq scipy seaborn selenium shapely simplejson six slowapi spacy sqlalchemy sqlmodel
sqlparse starlette statsmodels strawberry streamlit stripe structlog supabase sympy taskiq
tenacity tiktoken toml tomli tomlkit torch torchaudio torchvision tornado tqdm transformers
twilio typer tzlocal ujson urllib3 uvicorn uvloop validators watchfiles weasyprint
websocket websockets werkzeug wtforms xgboost lightgbm xlrd xlsxwriter zeep
""")
"""Well-known modules whose distribution has the same name: a file of that name is rarely meant."""

BRINGS = _lists("""
aerich: tortoise-orm dictdiffer asyncclick tomlkit
aioboto3: aiobotocore boto3
aiobotocore: botocore aiohttp wrapt
aiogram: aiohttp aiofiles pydantic magic-filter certifi typing-extensions
aiohttp: attrs multidict yarl frozenlist aiosignal propcache typing-extensions
aiokafka: async-timeout packaging
aiomysql: pymysql
aioodbc: pyodbc
alembic: sqlalchemy mako typing-extensions
anthropic: httpx pydantic anyio distro jiter sniffio typing-extensions
anyio: idna sniffio typing-extensions
arq: redis click typing-extensions
authlib: cryptography
beanie: motor pymongo pydantic click lazy-model typing-extensions
beautifulsoup4: soupsieve typing-extensions
bs4: beautifulsoup4
boto3: botocore s3transfer jmespath
botocore: jmespath python-dateutil urllib3
celery: kombu billiard vine click python-dateutil tzlocal click-didyoumean
celery[redis]: redis
celery[sqlalchemy]: sqlalchemy
chromadb: numpy pydantic pyyaml requests httpx typer tenacity tqdm uvicorn orjson rich fastapi
cryptography: cffi
databases: sqlalchemy
databases[aiomysql]: aiomysql
databases[aiopg]: aiopg
databases[aiosqlite]: aiosqlite
databases[asyncmy]: asyncmy
databases[asyncpg]: asyncpg
databases[mysql]: aiomysql
databases[postgresql]: asyncpg
databases[sqlite]: aiosqlite
django: asgiref sqlparse
djangorestframework: django
discord: discord-py
docker: requests urllib3
dotenv: python-dotenv
email-validator: dnspython idna
elasticsearch: elastic-transport urllib3 certifi python-dateutil
environs: marshmallow python-dotenv
faster-whisper: numpy huggingface-hub tokenizers onnxruntime tqdm
fastapi: starlette pydantic typing-extensions anyio
fastapi-cache2: fastapi uvicorn pendulum typing-extensions
fastapi-cache2[redis]: redis
fastapi-cli: typer uvicorn rich-toolkit
fastapi-cli[standard]: uvicorn[standard]
fastapi-cli[standard-no-fastapi-cloud-cli]: uvicorn[standard]
fastapi-mail: fastapi starlette jinja2 aiosmtplib email-validator pydantic pydantic-settings
    cryptography blinker
fastapi-pagination: fastapi pydantic
fastapi-sso: fastapi httpx oauthlib pydantic pyjwt email-validator
fastapi-users: fastapi email-validator makefun pwdlib[argon2,bcrypt] pyjwt[crypto] python-multipart
fastapi-users[beanie]: fastapi-users-db-beanie
fastapi-users[oauth]: httpx-oauth
fastapi-users[redis]: redis
fastapi-users[sqlalchemy]: fastapi-users-db-sqlalchemy
fastapi-users-db-beanie: beanie fastapi-users
fastapi-users-db-sqlalchemy: sqlalchemy[asyncio] fastapi-users
fastapi-utils: fastapi pydantic psutil
fastapi[all]: fastapi[standard] itsdangerous pyyaml ujson orjson
fastapi[standard]: fastapi-cli[standard] httpx jinja2 python-multipart email-validator
    uvicorn[standard] pydantic-settings pydantic-extra-types
fastapi[standard-no-fastapi-cloud-cli]: fastapi[standard]
firebase-admin: google-cloud-firestore google-cloud-storage google-auth google-api-core
    google-api-python-client cachecontrol pyjwt requests httpx
flask: werkzeug jinja2 itsdangerous click blinker markupsafe
gensim: numpy scipy smart-open
geoalchemy2: sqlalchemy packaging
google-api-core: google-auth protobuf requests googleapis-common-protos proto-plus
google-api-python-client: google-auth httplib2 google-auth-httplib2 google-api-core uritemplate
google-auth: pyasn1 pyasn1-modules cachetools rsa cryptography
google-auth-oauthlib: google-auth requests-oauthlib
google-cloud-aiplatform: google-auth google-cloud-storage google-cloud-bigquery pydantic protobuf
    google-genai shapely packaging docstring-parser
google-cloud-core: google-api-core google-auth
google-cloud-firestore: google-cloud-core
google-cloud-pubsub: google-api-core grpcio
google-cloud-bigquery: google-cloud-core google-resumable-media requests packaging python-dateutil
google-cloud-storage: google-cloud-core google-resumable-media requests google-crc32c
google-genai: google-auth httpx pydantic requests tenacity websockets anyio
google-generativeai: google-ai-generativelanguage google-api-core google-api-python-client
    google-auth protobuf pydantic tqdm
gradio: fastapi uvicorn starlette httpx numpy pandas pillow pydantic pyyaml jinja2 aiofiles
    orjson python-multipart huggingface-hub typer pydub ffmpy
gql: graphql-core yarl anyio
graphene: graphql-core python-dateutil
gunicorn: packaging
httpx: httpcore anyio certifi idna
httpx[http2]: h2
httpx[socks]: socksio
httpx2: httpcore2 anyio idna
huggingface-hub: requests httpx tqdm pyyaml filelock fsspec packaging typer typing-extensions
hypercorn: h11 h2 wsproto
jinja2: markupsafe
jsonschema: attrs referencing rpds-py
kombu: amqp vine
langchain: langchain-core langgraph langsmith pydantic langchain-text-splitters sqlalchemy
    requests pyyaml
langchain-community: langchain langchain-core sqlalchemy requests pyyaml aiohttp tenacity
    numpy pydantic-settings dataclasses-json
langchain-core: langsmith tenacity jsonpatch pyyaml packaging pydantic typing-extensions httpx
langchain-openai: langchain-core openai tiktoken
langgraph: langchain-core langgraph-sdk langgraph-checkpoint langgraph-prebuilt pydantic xxhash
langgraph-sdk: httpx orjson
langsmith: httpx requests pydantic orjson requests-toolbelt packaging
litellm: openai httpx pydantic tiktoken tokenizers aiohttp click jinja2 jsonschema python-dotenv
llama-index: llama-index-core nltk llama-index-llms-openai llama-index-embeddings-openai
llama-index-core: sqlalchemy aiohttp httpx nltk numpy pydantic requests tenacity tiktoken tqdm
    pyyaml pillow networkx fsspec typing-extensions dataclasses-json
llama-index-embeddings-openai: llama-index-core openai
llama-index-llms-openai: llama-index-core openai
mako: markupsafe
matplotlib: numpy pillow python-dateutil packaging contourpy cycler fonttools kiwisolver pyparsing
mlflow: sqlalchemy alembic flask pandas numpy scikit-learn requests pyyaml docker gunicorn
mongoengine: pymongo
motor: pymongo
nltk: click joblib regex tqdm
odmantic: motor pymongo pydantic
openai: httpx pydantic anyio distro jiter sniffio tqdm typing-extensions
openai-whisper: torch numpy tiktoken tqdm more-itertools numba
opencv-contrib-python: numpy
opencv-contrib-python-headless: numpy
opencv-python: numpy
opencv-python-headless: numpy
openpyxl: et-xmlfile
opentelemetry-instrumentation-fastapi: opentelemetry-api opentelemetry-instrumentation
    opentelemetry-instrumentation-asgi opentelemetry-semantic-conventions
opentelemetry-sdk: opentelemetry-api opentelemetry-semantic-conventions typing-extensions
optuna: sqlalchemy alembic numpy tqdm pyyaml
ormar: databases sqlalchemy pydantic
pandas: numpy python-dateutil pytz
pandas[excel]: openpyxl xlsxwriter xlrd
pandas[parquet]: pyarrow
paramiko: bcrypt cryptography pynacl
passlib[argon2]: argon2-cffi
passlib[bcrypt]: bcrypt
pdfplumber: pdfminer-six pillow pypdfium2
pendulum: python-dateutil tzdata
plotly: narwhals packaging
prisma: httpx jinja2 pydantic python-dotenv click typing-extensions tomlkit
prometheus-fastapi-instrumentator: prometheus-client starlette
psycopg: typing-extensions
psycopg[binary]: psycopg-binary
psycopg[c]: psycopg-c
psycopg[pool]: psycopg-pool
pwdlib[argon2]: argon2-cffi
pwdlib[bcrypt]: bcrypt
pydantic: pydantic-core annotated-types typing-extensions typing-inspection
pydantic-extra-types: pydantic
pydantic-settings: pydantic python-dotenv typing-inspection
pydantic[dotenv]: python-dotenv
pydantic[email]: email-validator
pydantic[timezone]: tzdata
pygithub: requests pyjwt[crypto] pynacl
pyjwt[crypto]: cryptography
pymongo: dnspython
pyopenssl: cryptography
pytelegrambotapi: requests
python-docx: lxml typing-extensions
python-engineio: simple-websocket
python-jose: ecdsa rsa pyasn1
python-jose[cryptography]: cryptography
python-jose[pycryptodome]: pycryptodome
python-keycloak: requests httpx jwcrypto
python-pptx: lxml pillow xlsxwriter typing-extensions
python-socketio: python-engineio bidict
python-telegram-bot: httpx
qdrant-client: httpx numpy pydantic grpcio urllib3 portalocker
qrcode[pil]: pillow
redis[hiredis]: hiredis
redis-om: redis pydantic click
requests: urllib3 certifi idna charset-normalizer
requests-oauthlib: requests oauthlib
rich: pygments markdown-it-py
rq: redis click
s3fs: aiobotocore fsspec aiohttp
s3transfer: botocore
scikit-image: numpy scipy pillow networkx imageio tifffile packaging
scikit-learn: numpy scipy joblib threadpoolctl
scipy: numpy
seaborn: numpy pandas matplotlib
selenium: urllib3 trio certifi websocket-client typing-extensions
sentence-transformers: transformers torch scikit-learn scipy numpy huggingface-hub tqdm pillow
sentry-sdk: urllib3 certifi
shapely: numpy
slowapi: limits
spacy: numpy pydantic requests tqdm typer jinja2 packaging srsly thinc
sqladmin: sqlalchemy starlette wtforms jinja2 python-multipart
sqlalchemy: typing-extensions
sqlalchemy-utils: sqlalchemy
sqlalchemy[aiomysql]: aiomysql greenlet
sqlalchemy[aiosqlite]: aiosqlite greenlet
sqlalchemy[asyncio]: greenlet
sqlalchemy[asyncmy]: asyncmy greenlet
sqlalchemy[mssql]: pyodbc
sqlalchemy[mysql]: mysqlclient
sqlalchemy[postgresql-asyncpg]: asyncpg greenlet
sqlalchemy[postgresql-psycopg2binary]: psycopg2-binary
sqlalchemy[postgresql-psycopg]: psycopg
sqlalchemy[postgresql-psycopgbinary]: psycopg[binary]
sqlalchemy[postgresql]: psycopg2
sqlalchemy[pymysql]: pymysql
sqlmodel: sqlalchemy pydantic typing-extensions
starlette: anyio typing-extensions
starlette-admin: starlette jinja2 python-multipart
starlette[full]: itsdangerous jinja2 python-multipart pyyaml httpx
statsmodels: numpy scipy pandas patsy packaging
strawberry-graphql: graphql-core python-dateutil typing-extensions
strawberry-graphql[fastapi]: fastapi python-multipart
streamlit: numpy pandas pillow requests tornado click toml altair protobuf pyarrow tenacity rich
stripe: requests typing-extensions
supabase: httpx postgrest realtime storage3 supabase-auth supabase-functions
supabase-auth: httpx pydantic pyjwt
taskiq: pydantic anyio aiohttp packaging taskiq-dependencies
taskiq-redis: taskiq redis
tensorflow: numpy keras protobuf grpcio requests six absl-py h5py tensorboard packaging
tensorflow-cpu: tensorflow
tiktoken: regex requests
torch: numpy sympy networkx jinja2 fsspec filelock typing-extensions
torchaudio: torch
torchvision: torch numpy pillow
tortoise-orm: aiosqlite pypika-tortoise iso8601 pytz
tortoise-orm[asyncpg]: asyncpg
tortoise-orm[aiomysql]: aiomysql
tortoise-orm[asyncmy]: asyncmy
tortoise-orm[psycopg]: psycopg
transformers: numpy huggingface-hub tokenizers safetensors regex requests tqdm pyyaml packaging
    filelock
twilio: requests pyjwt aiohttp
typer: click rich shellingham typing-extensions
typer[all]: typer
uvicorn: click h11
uvicorn[standard]: httptools python-dotenv pyyaml uvloop watchfiles websockets
watchfiles: anyio
weasyprint: pillow pydyf cffi tinycss2 cssselect2 fonttools pyphen
werkzeug: markupsafe
wtforms: markupsafe
xgboost: numpy scipy
lightgbm: numpy scipy
ultralytics: numpy torch torchvision opencv-python pillow pyyaml requests matplotlib scipy pandas
    tqdm psutil seaborn
yarl: idna multidict
zeep: requests lxml attrs requests-toolbelt pytz
""")
"""Distribution, or distribution[extra] -> what is installed with it."""

ALONE = _names("""
aiofiles aiosmtplib aiosqlite apscheduler asyncpg bcrypt cachetools certifi colorama gevent
greenlet h11 itsdangerous loguru lxml markdown mysqlclient numpy orjson passlib peewee pillow
psutil psycopg2 psycopg2-binary pymysql pypdf pytest pytest-asyncio python-dateutil
python-decouple python-dotenv python-multipart python-slugify pytz pyyaml redis regex
setuptools six structlog tenacity toml tomli tqdm typing-extensions tzdata ujson uvloop
validators websockets wheel pip black flake8 isort mypy ruff pre-commit asgiref mangum
tabulate xmltodict python-magic pyotp click httptools
""")
"""Distributions that bring nothing which is imported elsewhere."""

KNOWN = ALONE | {name.partition("[")[0] for name in BRINGS}
"""Distributions of which it is known what they bring."""

OFTEN_BROUGHT = _names("""
aiohttp anyio attrs boto3 botocore cachetools certifi cffi click cryptography google-api-core
google-auth grpcio httpx idna jinja2 joblib jsonschema markupsafe networkx numpy packaging
pandas pillow protobuf psutil pydantic pymongo python-dateutil pytz pyyaml regex requests rich
scipy setuptools six sniffio starlette tenacity toml tqdm typing-extensions
typing-inspection tzlocal urllib3 werkzeug yarl pyjwt redis torch transformers
""")
"""Modules that many distributions bring: unless all of them are known, one of them may."""

PKG_RESOURCES = {
    "aiosql": "8.0",
    "apscheduler": "3.10.1",
    "docxcompose": "1.4.0",
    "face-recognition-models": "0.3.0",
    "fs": "2.4.16",
    "google-cloud-firestore": "2.5.0",
    "google-cloud-pubsub": "2.13.0",
    "google-cloud-secret-manager": "2.12.6",
    "google-cloud-speech": "2.16.2",
    "google-cloud-storage": "2.0.0",
    "google-cloud-texttospeech": "2.12.3",
    "google-cloud-translate": "3.8.4",
    "google-cloud-vision": "3.1.4",
    "imageio-ffmpeg": "0.4.9",
    "librosa": "0.10.1",
    "lightning-utilities": "0.10.1",
    "opentelemetry-instrumentation": "0.48b0",
    "pymilvus": "2.4.0",
    "pymorphy2": "0.9.1",
    "razorpay": "1.4.2",
    "webrtcvad": "2.0.10",
}
"""Distribution -> the last version that was seen to import pkg_resources when it is imported."""

NO_PKG_RESOURCES = "82"
"""The first version of setuptools without pkg_resources."""

GONE = {
    "asynchat": ("3.12", "pyasynchat"),
    "asyncore": ("3.12", "pyasyncore"),
    "audioop": ("3.13", "audioop-lts"),
    "cgi": ("3.13", "legacy-cgi"),
    "cgitb": ("3.13", "legacy-cgi"),
    "crypt": ("3.13", "standard-crypt"),
    "distutils": ("3.12", "setuptools"),
    "imghdr": ("3.13", "standard-imghdr"),
    "pipes": ("3.13", "standard-pipes"),
    "sndhdr": ("3.13", "standard-sndhdr"),
    "telnetlib": ("3.13", "standard-telnetlib"),
}
"""Module of the standard library -> the Python that no longer has it, and who has it now."""

DRIVERS = _lists("""
aiomysql: aiomysql
aioodbc: aioodbc
aiopg: aiopg
aiosqlite: aiosqlite
asyncmy: asyncmy
asyncpg: asyncpg
cx_oracle: cx-oracle
mariadbconnector: mariadb
mysqlconnector: mysql-connector-python
mysqldb: mysqlclient
oracledb: oracledb
pg8000: pg8000
psycopg: psycopg[binary] psycopg
psycopg2: psycopg2-binary psycopg2
psycopg2cffi: psycopg2cffi
psycopg_async: psycopg[binary] psycopg
pymssql: pymssql
pymysql: pymysql
pyodbc: pyodbc
""")
"""Driver in a database URL -> the distributions that have it."""

DEFAULT_DRIVERS = _lists("""
cockroachdb: psycopg2-binary psycopg2 psycopg
mariadb: mysqlclient pymysql
mssql: pyodbc
mysql: mysqlclient pymysql
oracle: oracledb cx-oracle
postgres: psycopg2-binary psycopg2 psycopg2cffi psycopg
postgresql: psycopg2-binary psycopg2 psycopg2cffi psycopg
""")
"""Database in a URL without a driver -> what SQLAlchemy takes, and what may stand in for it."""

ASYNC_DRIVERS = _lists("""
mysql: aiomysql asyncmy
postgres: asyncpg aiopg psycopg
postgresql: asyncpg aiopg psycopg
sqlite: aiosqlite
""")
"""Database in a URL -> what Tortoise and the library `databases` take."""


def with_what_they_bring(names: Iterable[str]) -> set[str]:
    """Distributions, also as name[extra], and those that are installed with them."""
    waiting = list(names)
    seen: set[str] = set()
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting += [*_without_extras(current), *BRINGS.get(current, ())]
    return seen


def _without_extras(name: str) -> Iterator[str]:
    """`pwdlib[argon2,bcrypt]` is pwdlib, pwdlib[argon2] and pwdlib[bcrypt]."""
    base, bracket, extras = name.partition("[")
    if bracket:
        yield base
        yield from (f"{base}[{extra}]" for extra in extras.rstrip("]").split(","))


def providers(module: str) -> tuple[str, ...]:
    """The distributions that have a module, the most likely one first."""
    top, *rest = module.split(".")
    parts = [top, *(part for part in rest if part.isidentifier() and not part[:1].isupper())]
    for length in range(len(parts), 1, -1):
        if known := PROVIDERS.get(".".join(parts[:length])):
            return known
    if top in LONGEST:
        public = [part for part in parts if not part.startswith("_")]
        return _shared(public[: LONGEST[top]])
    return PROVIDERS.get(top) or (canonicalize_name(top),)


def _shared(parts: list[str]) -> tuple[str, ...]:
    """Distributions below a namespace are named after their module, or one above it."""
    names = [canonicalize_name("-".join(parts[:length])) for length in range(len(parts), 1, -1)]
    if parts[0] == "opentelemetry" and not {"instrumentation", "exporter"} & set(parts[1:2]):
        return ("opentelemetry-sdk",) if "sdk" in parts else ("opentelemetry-api", *TELEMETRY)
    if parts[0] == "llama_index":
        return *names, "llama-index"
    return tuple(re.sub(r"-v\d\w*$", "", name) for name in names) or (canonicalize_name(parts[0]),)

"""Runs ChromeDriver and prints its port. When standard input ends it ends, with all of its browsers."""

import re
import subprocess
import sys
import urllib.request

driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
for line in driver.stdout:
    if found := re.search(r"successfully on port (\d+)", line):
        break
port = found[1]
print(port, flush=True)
sys.stdin.read()
urllib.request.urlopen(f"http://127.0.0.1:{port}/shutdown").close()
driver.wait()
